
use builtin;
use str;

set edit:completion:arg-completer[amb] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'amb'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'amb'= {
            cand --color 'When to use colours'
            cand -q 'Say less: no summary and no warnings; errors stay'
            cand --quiet 'Say less: no summary and no warnings; errors stay'
            cand -v 'Say more of what amb does; -vv for everything'
            cand --verbose 'Say more of what amb does; -vv for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand run 'Run a command behind a proxy of its own'
            cand demo 'Show what amb does, with a server and a client of its own'
            cand init 'Write a first amb.toml'
            cand config 'Show, explain and check the configuration'
            cand trust 'Trust this project''s amb.toml'
            cand completions 'Write what makes a shell complete amb''s words and those of the wrapped command'
            cand help 'Help on a subcommand or a topic: exit-codes, env, config, filters, differences'
        }
        &'amb;run'= {
            cand -c 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]'
            cand --config 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]'
            cand -p 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]'
            cand --profile 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]'
            cand -s 'Set any key, over all else: -s timeout.connect=2s; repeatable'
            cand --set 'Set any key, over all else: -s timeout.connect=2s; repeatable'
            cand --connect-timeout 'How long a connection may take to open, name resolution included [default: 10s]'
            cand -t 'How long a request may take in all, retries included [default: no limit]'
            cand --timeout 'How long a request may take in all, retries included [default: no limit]'
            cand --retries 'Try a failed request again so many times after the first try [default: 0, or 2 with --retry]'
            cand --retry 'How far retries may go [default: off]'
            cand --retry-on 'What to retry on, such as 5xx,reset,429 [default: connect-failure,refused-stream,reset,gateway-error,rate-limited]'
            cand --upstream-proxy 'Reach the network through this proxy [default: amb''s own environment]'
            cand --connect-to 'Connect to HOST2:PORT2 instead of HOST:PORT; an empty HOST or PORT fits any'
            cand --resolve 'Use this address for HOST and PORT instead of asking the resolver; HOST may be *'
            cand --summary 'How much to say at the end [default: auto]'
            cand -r 'Write a report to this file: report.json or json=FILE; repeatable [default: none]'
            cand --report 'Write a report to this file: report.json or json=FILE; repeatable [default: none]'
            cand --access-log 'Append a line for each exchange and tunnel to this file; - is stderr [default: none]'
            cand --access-log-format 'The form of these lines [default: json]'
            cand --log-level 'How much amb says of itself: error, warn, info, debug, trace, off; or by module: amb::proxy=debug [default: AMB_LOG, else warn, and error if stderr is a terminal, which is the command''s while it runs]'
            cand --log-format 'The form of these lines [default: text]'
            cand --no-proxy 'Hosts the command should reach directly; added to its own NO_PROXY [default: none]'
            cand --name 'Label for logs and reports [default: the command''s name]'
            cand --listen 'Where the proxy listens; port 0 takes a free one [default: 127.0.0.1:0]'
            cand --threads 'Threads that serve the proxy, 1 to 64 [default: 1]'
            cand --inject 'Families of variables to put in the command''s environment, such as proxy,node [default: default]'
            cand --process-group 'Which process group the command gets [default: auto]'
            cand --run-timeout 'Stop the command after this; exit with 124 [default: never]'
            cand -k 'Kill the command this long after it was first told to stop [default: never]'
            cand --kill-after 'Kill the command this long after it was first told to stop [default: never]'
            cand --wait 'What to wait for before amb ends as the command did [default: main]'
            cand --on-death 'Signal for the command if amb itself is killed, or none [default: auto]'
            cand --drain 'How long open requests may go on when the command has ended [default: 1s]'
            cand --color 'When to use colours'
            cand --no-config 'Ignore the user''s and the project''s file'
            cand -n 'Show what would be done; start nothing'
            cand --dry-run 'Show what would be done; start nothing'
            cand --no-via 'Leave out the Via header that amb adds to requests and responses'
            cand --proxy-loopback 'Send requests to loopback through the proxy too [default: off]'
            cand --no-proxy-loopback 'Leave requests to loopback alone, whatever was said before'
            cand -q 'Say less: no summary and no warnings; errors stay'
            cand --quiet 'Say less: no summary and no warnings; errors stay'
            cand -v 'Say more of what amb does; -vv for everything'
            cand --verbose 'Say more of what amb does; -vv for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'amb;demo'= {
            cand --color 'When to use colours'
            cand -q 'Say less: no summary and no warnings; errors stay'
            cand --quiet 'Say less: no summary and no warnings; errors stay'
            cand -v 'Say more of what amb does; -vv for everything'
            cand --verbose 'Say more of what amb does; -vv for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'amb;init'= {
            cand --color 'When to use colours'
            cand --no-schema 'Do not write the schema, which editors complete and check amb.toml by'
            cand -q 'Say less: no summary and no warnings; errors stay'
            cand --quiet 'Say less: no summary and no warnings; errors stay'
            cand -v 'Say more of what amb does; -vv for everything'
            cand --verbose 'Say more of what amb does; -vv for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'amb;config'= {
            cand --color 'When to use colours'
            cand -q 'Say less: no summary and no warnings; errors stay'
            cand --quiet 'Say less: no summary and no warnings; errors stay'
            cand -v 'Say more of what amb does; -vv for everything'
            cand --verbose 'Say more of what amb does; -vv for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand show 'Show what holds'
            cand explain 'Explain a key: what it is for, what every layer says, which of them wins'
            cand check 'Look for mistakes in all that would be read, or in these files'
            cand schema 'Print the JSON Schema of amb.toml, for editors'
            cand path 'Say where files are looked for, and which are there'
        }
        &'amb;config;show'= {
            cand -c 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]'
            cand --config 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]'
            cand -p 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]'
            cand --profile 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]'
            cand -s 'Set any key, over all else: -s timeout.connect=2s; repeatable'
            cand --set 'Set any key, over all else: -s timeout.connect=2s; repeatable'
            cand --color 'When to use colours'
            cand --origin 'Say where each value comes from'
            cand --changed 'Leave out built-in defaults'
            cand --json 'As JSON'
            cand --no-config 'Ignore the user''s and the project''s file'
            cand -q 'Say less: no summary and no warnings; errors stay'
            cand --quiet 'Say less: no summary and no warnings; errors stay'
            cand -v 'Say more of what amb does; -vv for everything'
            cand --verbose 'Say more of what amb does; -vv for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'amb;config;explain'= {
            cand -c 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]'
            cand --config 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]'
            cand -p 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]'
            cand --profile 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]'
            cand -s 'Set any key, over all else: -s timeout.connect=2s; repeatable'
            cand --set 'Set any key, over all else: -s timeout.connect=2s; repeatable'
            cand --color 'When to use colours'
            cand --no-config 'Ignore the user''s and the project''s file'
            cand -q 'Say less: no summary and no warnings; errors stay'
            cand --quiet 'Say less: no summary and no warnings; errors stay'
            cand -v 'Say more of what amb does; -vv for everything'
            cand --verbose 'Say more of what amb does; -vv for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'amb;config;check'= {
            cand -c 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]'
            cand --config 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]'
            cand -p 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]'
            cand --profile 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]'
            cand -s 'Set any key, over all else: -s timeout.connect=2s; repeatable'
            cand --set 'Set any key, over all else: -s timeout.connect=2s; repeatable'
            cand --color 'When to use colours'
            cand --no-config 'Ignore the user''s and the project''s file'
            cand -q 'Say less: no summary and no warnings; errors stay'
            cand --quiet 'Say less: no summary and no warnings; errors stay'
            cand -v 'Say more of what amb does; -vv for everything'
            cand --verbose 'Say more of what amb does; -vv for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'amb;config;schema'= {
            cand --color 'When to use colours'
            cand --report 'That of the JSON report instead'
            cand -q 'Say less: no summary and no warnings; errors stay'
            cand --quiet 'Say less: no summary and no warnings; errors stay'
            cand -v 'Say more of what amb does; -vv for everything'
            cand --verbose 'Say more of what amb does; -vv for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'amb;config;path'= {
            cand -c 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]'
            cand --config 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]'
            cand -p 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]'
            cand --profile 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]'
            cand -s 'Set any key, over all else: -s timeout.connect=2s; repeatable'
            cand --set 'Set any key, over all else: -s timeout.connect=2s; repeatable'
            cand --color 'When to use colours'
            cand --no-config 'Ignore the user''s and the project''s file'
            cand -q 'Say less: no summary and no warnings; errors stay'
            cand --quiet 'Say less: no summary and no warnings; errors stay'
            cand -v 'Say more of what amb does; -vv for everything'
            cand --verbose 'Say more of what amb does; -vv for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'amb;trust'= {
            cand --color 'When to use colours'
            cand --remove 'Trust it no more'
            cand --list 'List what is trusted'
            cand -q 'Say less: no summary and no warnings; errors stay'
            cand --quiet 'Say less: no summary and no warnings; errors stay'
            cand -v 'Say more of what amb does; -vv for everything'
            cand --verbose 'Say more of what amb does; -vv for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'amb;completions'= {
            cand --color 'When to use colours'
            cand -q 'Say less: no summary and no warnings; errors stay'
            cand --quiet 'Say less: no summary and no warnings; errors stay'
            cand -v 'Say more of what amb does; -vv for everything'
            cand --verbose 'Say more of what amb does; -vv for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'amb;help'= {
            cand --color 'When to use colours'
            cand -q 'Say less: no summary and no warnings; errors stay'
            cand --quiet 'Say less: no summary and no warnings; errors stay'
            cand -v 'Say more of what amb does; -vv for everything'
            cand --verbose 'Say more of what amb does; -vv for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
    ]
    $completions[$command]
}
