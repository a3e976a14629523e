# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_amb_global_optspecs
    string join \n q/quiet v/verbose color= h/help V/version
end

function __fish_amb_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_amb_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_amb_using_subcommand
    set -l cmd (__fish_amb_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c amb -n "__fish_amb_needs_command" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Also in files and pipes'
never\t'Not at all'"
complete -c amb -n "__fish_amb_needs_command" -s q -l quiet -d 'Say less: no summary and no warnings; errors stay'
complete -c amb -n "__fish_amb_needs_command" -s v -l verbose -d 'Say more of what amb does; -vv for everything'
complete -c amb -n "__fish_amb_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c amb -n "__fish_amb_needs_command" -s V -l version -d 'Print version'
complete -c amb -n "__fish_amb_needs_command" -f -a "run" -d 'Run a command behind a proxy of its own'
complete -c amb -n "__fish_amb_needs_command" -f -a "demo" -d 'Show what amb does, with a server and a client of its own'
complete -c amb -n "__fish_amb_needs_command" -f -a "init" -d 'Write a first amb.toml'
complete -c amb -n "__fish_amb_needs_command" -f -a "config" -d 'Show, explain and check the configuration'
complete -c amb -n "__fish_amb_needs_command" -f -a "trust" -d 'Trust this project\'s amb.toml'
complete -c amb -n "__fish_amb_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c amb -n "__fish_amb_using_subcommand run" -s c -l config -d 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]' -r -F
complete -c amb -n "__fish_amb_using_subcommand run" -s p -l profile -d 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]' -r
complete -c amb -n "__fish_amb_using_subcommand run" -s s -l set -d 'Set any key, over all else: -s timeout.connect=2s; repeatable' -r
complete -c amb -n "__fish_amb_using_subcommand run" -l connect-timeout -d 'How long a connection may take to open, name resolution included [default: 10s]' -r
complete -c amb -n "__fish_amb_using_subcommand run" -l upstream-proxy -d 'Reach the network through this proxy [default: amb\'s own environment]' -r
complete -c amb -n "__fish_amb_using_subcommand run" -l connect-to -d 'Connect to HOST2:PORT2 instead of HOST:PORT; an empty HOST or PORT fits any' -r -f
complete -c amb -n "__fish_amb_using_subcommand run" -l resolve -d 'Use this address for HOST and PORT instead of asking the resolver; HOST may be *' -r -f
complete -c amb -n "__fish_amb_using_subcommand run" -l summary -d 'How much to say at the end [default: auto]' -r -f -a "auto\t'On a terminal one line, or all of it if something went wrong; elsewhere only what went wrong'
full\t'All of it'
compact\t'One line'
off\t'Nothing but warnings'"
complete -c amb -n "__fish_amb_using_subcommand run" -s r -l report -d 'Write a report to this file: report.json or json=FILE; repeatable [default: none]' -r -F
complete -c amb -n "__fish_amb_using_subcommand run" -l access-log -d 'Append a line for each exchange and tunnel to this file; - is stderr [default: none]' -r -F
complete -c amb -n "__fish_amb_using_subcommand run" -l access-log-format -d 'The form of these lines [default: json]' -r -f -a "json\t'A JSON object a line, named as OpenTelemetry names things'
logfmt\t'key=value, the same keys'
common\t'Apache\'s common log format'
combined\t'Apache\'s combined log format'"
complete -c amb -n "__fish_amb_using_subcommand run" -l log-level -d 'How much amb says of itself: error, warn, info, debug, trace, off; or by module: amb::proxy=debug [default: AMB_LOG, else warn, and error if stderr is a terminal, which is the command\'s while it runs]' -r
complete -c amb -n "__fish_amb_using_subcommand run" -l log-format -d 'The form of these lines [default: text]' -r -f -a "text\t'Lines for people, which begin with `amb: `'
json\t'A JSON object a line'"
complete -c amb -n "__fish_amb_using_subcommand run" -l no-proxy -d 'Hosts the command should reach directly; added to its own NO_PROXY [default: none]' -r
complete -c amb -n "__fish_amb_using_subcommand run" -l name -d 'Label for logs and reports [default: the command\'s name]' -r
complete -c amb -n "__fish_amb_using_subcommand run" -l listen -d 'Where the proxy listens; port 0 takes a free one [default: 127.0.0.1:0]' -r
complete -c amb -n "__fish_amb_using_subcommand run" -l threads -d 'Threads that serve the proxy, 1 to 64 [default: 1]' -r
complete -c amb -n "__fish_amb_using_subcommand run" -l inject -d 'Families of variables to put in the command\'s environment, such as proxy,node [default: default]' -r
complete -c amb -n "__fish_amb_using_subcommand run" -l process-group -d 'Which process group the command gets [default: auto]' -r -f -a "auto\t'`inherit` if amb has a controlling terminal, `new` otherwise'
inherit\t'In amb\'s, as without amb: Ctrl-C, Ctrl-Z, `fg` and pipelines work. A signal sent to the whole group from outside may reach the child twice'
new\t'In one of its own: signals reach it through amb, exactly once, and a kill takes the whole group'"
complete -c amb -n "__fish_amb_using_subcommand run" -l run-timeout -d 'Stop the command after this; exit with 124 [default: never]' -r
complete -c amb -n "__fish_amb_using_subcommand run" -s k -l kill-after -d 'Kill the command this long after it was first told to stop [default: never]' -r
complete -c amb -n "__fish_amb_using_subcommand run" -l on-death -d 'Signal for the command if amb itself is killed, or none [default: auto]' -r
complete -c amb -n "__fish_amb_using_subcommand run" -l drain -d 'How long open requests may go on when the command has ended [default: 1s]' -r
complete -c amb -n "__fish_amb_using_subcommand run" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Also in files and pipes'
never\t'Not at all'"
complete -c amb -n "__fish_amb_using_subcommand run" -l no-config -d 'Ignore the user\'s and the project\'s file'
complete -c amb -n "__fish_amb_using_subcommand run" -s n -l dry-run -d 'Show what would be done; start nothing'
complete -c amb -n "__fish_amb_using_subcommand run" -l no-via -d 'Leave out the Via header that amb adds to requests and responses'
complete -c amb -n "__fish_amb_using_subcommand run" -l proxy-loopback -d 'Send requests to loopback through the proxy too [default: off]'
complete -c amb -n "__fish_amb_using_subcommand run" -l no-proxy-loopback -d 'Undoes `--proxy-loopback`; only a flag. See [`RunOptions::settle`]'
complete -c amb -n "__fish_amb_using_subcommand run" -s q -l quiet -d 'Say less: no summary and no warnings; errors stay'
complete -c amb -n "__fish_amb_using_subcommand run" -s v -l verbose -d 'Say more of what amb does; -vv for everything'
complete -c amb -n "__fish_amb_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c amb -n "__fish_amb_using_subcommand demo" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Also in files and pipes'
never\t'Not at all'"
complete -c amb -n "__fish_amb_using_subcommand demo" -s q -l quiet -d 'Say less: no summary and no warnings; errors stay'
complete -c amb -n "__fish_amb_using_subcommand demo" -s v -l verbose -d 'Say more of what amb does; -vv for everything'
complete -c amb -n "__fish_amb_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c amb -n "__fish_amb_using_subcommand init" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Also in files and pipes'
never\t'Not at all'"
complete -c amb -n "__fish_amb_using_subcommand init" -l no-schema -d 'Do not write the schema, which editors complete and check amb.toml by'
complete -c amb -n "__fish_amb_using_subcommand init" -s q -l quiet -d 'Say less: no summary and no warnings; errors stay'
complete -c amb -n "__fish_amb_using_subcommand init" -s v -l verbose -d 'Say more of what amb does; -vv for everything'
complete -c amb -n "__fish_amb_using_subcommand init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c amb -n "__fish_amb_using_subcommand config; and not __fish_seen_subcommand_from show explain check schema path help" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Also in files and pipes'
never\t'Not at all'"
complete -c amb -n "__fish_amb_using_subcommand config; and not __fish_seen_subcommand_from show explain check schema path help" -s q -l quiet -d 'Say less: no summary and no warnings; errors stay'
complete -c amb -n "__fish_amb_using_subcommand config; and not __fish_seen_subcommand_from show explain check schema path help" -s v -l verbose -d 'Say more of what amb does; -vv for everything'
complete -c amb -n "__fish_amb_using_subcommand config; and not __fish_seen_subcommand_from show explain check schema path help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c amb -n "__fish_amb_using_subcommand config; and not __fish_seen_subcommand_from show explain check schema path help" -f -a "show" -d 'Show what holds'
complete -c amb -n "__fish_amb_using_subcommand config; and not __fish_seen_subcommand_from show explain check schema path help" -f -a "explain" -d 'Explain a key: what it is for, what every layer says, which of them wins'
complete -c amb -n "__fish_amb_using_subcommand config; and not __fish_seen_subcommand_from show explain check schema path help" -f -a "check" -d 'Look for mistakes in all that would be read, or in these files'
complete -c amb -n "__fish_amb_using_subcommand config; and not __fish_seen_subcommand_from show explain check schema path help" -f -a "schema" -d 'Print the JSON Schema of amb.toml, for editors'
complete -c amb -n "__fish_amb_using_subcommand config; and not __fish_seen_subcommand_from show explain check schema path help" -f -a "path" -d 'Say where files are looked for, and which are there'
complete -c amb -n "__fish_amb_using_subcommand config; and not __fish_seen_subcommand_from show explain check schema path help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from show" -s c -l config -d 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]' -r -F
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from show" -s p -l profile -d 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]' -r
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from show" -s s -l set -d 'Set any key, over all else: -s timeout.connect=2s; repeatable' -r
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from show" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Also in files and pipes'
never\t'Not at all'"
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from show" -l origin -d 'Say where each value comes from'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from show" -l changed -d 'Leave out built-in defaults'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from show" -l json -d 'As JSON'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from show" -l no-config -d 'Ignore the user\'s and the project\'s file'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Say less: no summary and no warnings; errors stay'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Say more of what amb does; -vv for everything'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from explain" -s c -l config -d 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]' -r -F
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from explain" -s p -l profile -d 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]' -r
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from explain" -s s -l set -d 'Set any key, over all else: -s timeout.connect=2s; repeatable' -r
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from explain" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Also in files and pipes'
never\t'Not at all'"
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from explain" -l no-config -d 'Ignore the user\'s and the project\'s file'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from explain" -s q -l quiet -d 'Say less: no summary and no warnings; errors stay'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from explain" -s v -l verbose -d 'Say more of what amb does; -vv for everything'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from check" -s c -l config -d 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]' -r -F
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from check" -s p -l profile -d 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]' -r
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from check" -s s -l set -d 'Set any key, over all else: -s timeout.connect=2s; repeatable' -r
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from check" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Also in files and pipes'
never\t'Not at all'"
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from check" -l no-config -d 'Ignore the user\'s and the project\'s file'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from check" -s q -l quiet -d 'Say less: no summary and no warnings; errors stay'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from check" -s v -l verbose -d 'Say more of what amb does; -vv for everything'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from schema" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Also in files and pipes'
never\t'Not at all'"
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from schema" -l report -d 'That of the JSON report instead'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from schema" -s q -l quiet -d 'Say less: no summary and no warnings; errors stay'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from schema" -s v -l verbose -d 'Say more of what amb does; -vv for everything'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from schema" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from path" -s c -l config -d 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]' -r -F
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from path" -s p -l profile -d 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]' -r
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from path" -s s -l set -d 'Set any key, over all else: -s timeout.connect=2s; repeatable' -r
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from path" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Also in files and pipes'
never\t'Not at all'"
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from path" -l no-config -d 'Ignore the user\'s and the project\'s file'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from path" -s q -l quiet -d 'Say less: no summary and no warnings; errors stay'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from path" -s v -l verbose -d 'Say more of what amb does; -vv for everything'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from path" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show what holds'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "explain" -d 'Explain a key: what it is for, what every layer says, which of them wins'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "check" -d 'Look for mistakes in all that would be read, or in these files'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "schema" -d 'Print the JSON Schema of amb.toml, for editors'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "path" -d 'Say where files are looked for, and which are there'
complete -c amb -n "__fish_amb_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c amb -n "__fish_amb_using_subcommand trust" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Also in files and pipes'
never\t'Not at all'"
complete -c amb -n "__fish_amb_using_subcommand trust" -l remove -d 'Trust it no more'
complete -c amb -n "__fish_amb_using_subcommand trust" -l list -d 'List what is trusted'
complete -c amb -n "__fish_amb_using_subcommand trust" -s q -l quiet -d 'Say less: no summary and no warnings; errors stay'
complete -c amb -n "__fish_amb_using_subcommand trust" -s v -l verbose -d 'Say more of what amb does; -vv for everything'
complete -c amb -n "__fish_amb_using_subcommand trust" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c amb -n "__fish_amb_using_subcommand help; and not __fish_seen_subcommand_from run demo init config trust help" -f -a "run" -d 'Run a command behind a proxy of its own'
complete -c amb -n "__fish_amb_using_subcommand help; and not __fish_seen_subcommand_from run demo init config trust help" -f -a "demo" -d 'Show what amb does, with a server and a client of its own'
complete -c amb -n "__fish_amb_using_subcommand help; and not __fish_seen_subcommand_from run demo init config trust help" -f -a "init" -d 'Write a first amb.toml'
complete -c amb -n "__fish_amb_using_subcommand help; and not __fish_seen_subcommand_from run demo init config trust help" -f -a "config" -d 'Show, explain and check the configuration'
complete -c amb -n "__fish_amb_using_subcommand help; and not __fish_seen_subcommand_from run demo init config trust help" -f -a "trust" -d 'Trust this project\'s amb.toml'
complete -c amb -n "__fish_amb_using_subcommand help; and not __fish_seen_subcommand_from run demo init config trust help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c amb -n "__fish_amb_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "show" -d 'Show what holds'
complete -c amb -n "__fish_amb_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "explain" -d 'Explain a key: what it is for, what every layer says, which of them wins'
complete -c amb -n "__fish_amb_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "check" -d 'Look for mistakes in all that would be read, or in these files'
complete -c amb -n "__fish_amb_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "schema" -d 'Print the JSON Schema of amb.toml, for editors'
complete -c amb -n "__fish_amb_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "path" -d 'Say where files are looked for, and which are there'
