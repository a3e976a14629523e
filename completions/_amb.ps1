
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'amb' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'amb'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'amb' {
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('run', 'run', [CompletionResultType]::ParameterValue, 'Run a command behind a proxy of its own')
            [CompletionResult]::new('demo', 'demo', [CompletionResultType]::ParameterValue, 'Show what amb does, with a server and a client of its own')
            [CompletionResult]::new('init', 'init', [CompletionResultType]::ParameterValue, 'Write a first amb.toml')
            [CompletionResult]::new('config', 'config', [CompletionResultType]::ParameterValue, 'Show, explain and check the configuration')
            [CompletionResult]::new('policy', 'policy', [CompletionResultType]::ParameterValue, 'Try out what holds for a request, and write rules from reports')
            [CompletionResult]::new('report', 'report', [CompletionResultType]::ParameterValue, 'Show, convert, merge or compare reports of runs')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show what runs under amb, a line each')
            [CompletionResult]::new('ca', 'ca', [CompletionResultType]::ParameterValue, 'Create or show a certificate authority that is kept')
            [CompletionResult]::new('doctor', 'doctor', [CompletionResultType]::ParameterValue, 'Find out which programs of this machine go through amb, and trust it')
            [CompletionResult]::new('trust', 'trust', [CompletionResultType]::ParameterValue, 'Trust this project''s amb.toml')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Write what makes a shell complete amb''s words and those of the wrapped command')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Help on a subcommand or a topic: exit-codes, env, config, secrets, resilience, routes, changes, assertions, filters, differences')
            break
        }
        'amb;run' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]')
            [CompletionResult]::new('-p', '-p', [CompletionResultType]::ParameterName, 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]')
            [CompletionResult]::new('-s', '-s', [CompletionResultType]::ParameterName, 'Set any key, over all else: -s timeout.connect=2s; repeatable')
            [CompletionResult]::new('--set', '--set', [CompletionResultType]::ParameterName, 'Set any key, over all else: -s timeout.connect=2s; repeatable')
            [CompletionResult]::new('--break-glass', '--break-glass', [CompletionResultType]::ParameterName, 'Lift what the central policy enforces, if it lets a group of yours; say why')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'How long a connection may take to open, name resolution included [default: 10s]')
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'How long a request may take in all, retries included [default: no limit]')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'How long a request may take in all, retries included [default: no limit]')
            [CompletionResult]::new('--retries', '--retries', [CompletionResultType]::ParameterName, 'Try a failed request again so many times after the first try [default: 0, or 2 with --retry]')
            [CompletionResult]::new('--retry', '--retry', [CompletionResultType]::ParameterName, 'How far retries may go [default: off]')
            [CompletionResult]::new('--retry-on', '--retry-on', [CompletionResultType]::ParameterName, 'What to retry on, such as 5xx,reset,429 [default: connect-failure,refused-stream,reset,gateway-error,rate-limited]')
            [CompletionResult]::new('--rate-limit', '--rate-limit', [CompletionResultType]::ParameterName, 'Requests and tunnels that a host gets in a time, such as 50/s or 3000/m [default: no limit]')
            [CompletionResult]::new('--upstream-proxy', '--upstream-proxy', [CompletionResultType]::ParameterName, 'Reach the network through this proxy [default: amb''s own environment]')
            [CompletionResult]::new('--connect-to', '--connect-to', [CompletionResultType]::ParameterName, 'Connect to HOST2:PORT2 instead of HOST:PORT; an empty HOST or PORT fits any')
            [CompletionResult]::new('--resolve', '--resolve', [CompletionResultType]::ParameterName, 'Use this address for HOST and PORT instead of asking the resolver; HOST may be *')
            [CompletionResult]::new('-H', '-H ', [CompletionResultType]::ParameterName, 'Set this header on every request; VALUE may be @FILE, and may hold ${run.id}, ${request.id}, ${env.NAME}')
            [CompletionResult]::new('--header', '--header', [CompletionResultType]::ParameterName, 'Set this header on every request; VALUE may be @FILE, and may hold ${run.id}, ${request.id}, ${env.NAME}')
            [CompletionResult]::new('--intercept', '--intercept', [CompletionResultType]::ParameterName, 'Decrypt these hosts (all, if none named) with a CA only the command trusts [default: none]')
            [CompletionResult]::new('--extra-root', '--extra-root', [CompletionResultType]::ParameterName, 'Trust the certificates in this PEM file upstream, beside those of the system [default: none]')
            [CompletionResult]::new('--auth', '--auth', [CompletionResultType]::ParameterName, 'Sign requests to HOST in as bearer of this secret: api.example.com=secret:NAME; repeatable [default: none]')
            [CompletionResult]::new('--egress', '--egress', [CompletionResultType]::ParameterName, 'What becomes of requests that the rules deny: off, audit or enforce [default: audit]')
            [CompletionResult]::new('--allow', '--allow', [CompletionResultType]::ParameterName, 'Where requests may go; everywhere else is denied [default: none]')
            [CompletionResult]::new('--deny', '--deny', [CompletionResultType]::ParameterName, 'Where requests may not go, whatever else is allowed [default: none]')
            [CompletionResult]::new('--learn', '--learn', [CompletionResultType]::ParameterName, 'Write where requests went to this lockfile, if the command ends well: for --locked [default: none]')
            [CompletionResult]::new('--locked', '--locked', [CompletionResultType]::ParameterName, 'Refuse requests to places that are not in this lockfile; --learn writes it [default: none]')
            [CompletionResult]::new('--assert', '--assert', [CompletionResultType]::ParameterName, 'Fail with 99 unless this holds at the end: ''requests.failed == 0'', ''latency.p95 < 500ms''; repeatable')
            [CompletionResult]::new('--summary', '--summary', [CompletionResultType]::ParameterName, 'How much to say at the end [default: auto]')
            [CompletionResult]::new('--ci', '--ci', [CompletionResultType]::ParameterName, 'For which service to write job summaries, annotations and sections of the log [default: auto]')
            [CompletionResult]::new('--events', '--events', [CompletionResultType]::ParameterName, 'Write a line of JSON for each exchange and tunnel as it ends: to a file, or to a descriptor as fd:3 [default: none]')
            [CompletionResult]::new('-r', '-r', [CompletionResultType]::ParameterName, 'Write a report to this file: report.json or json=FILE; repeatable [default: none]')
            [CompletionResult]::new('--report', '--report', [CompletionResultType]::ParameterName, 'Write a report to this file: report.json or json=FILE; repeatable [default: none]')
            [CompletionResult]::new('--keep-reports', '--keep-reports', [CompletionResultType]::ParameterName, 'Keep the reports of this many runs, for `amb report --last` [default: 0]')
            [CompletionResult]::new('--access-log', '--access-log', [CompletionResultType]::ParameterName, 'Append a line for each exchange and tunnel to this file; - is stderr [default: none]')
            [CompletionResult]::new('--access-log-format', '--access-log-format', [CompletionResultType]::ParameterName, 'The form of these lines [default: json]')
            [CompletionResult]::new('--log-level', '--log-level', [CompletionResultType]::ParameterName, 'How much amb says of itself: error, warn, info, debug, trace, off; or by module: amb::proxy=debug [default: AMB_LOG, else warn, and error if stderr is a terminal, which is the command''s while it runs]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'The form of these lines [default: text]')
            [CompletionResult]::new('--no-proxy', '--no-proxy', [CompletionResultType]::ParameterName, 'Hosts the command should reach directly; added to its own NO_PROXY [default: none]')
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'Label for logs and reports [default: the command''s name]')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Where the proxy listens; port 0 takes a free one [default: 127.0.0.1:0]')
            [CompletionResult]::new('--threads', '--threads', [CompletionResultType]::ParameterName, 'Threads that serve the proxy, 1 to 64 [default: 1]')
            [CompletionResult]::new('--inject', '--inject', [CompletionResultType]::ParameterName, 'Families of variables to put in the command''s environment, such as proxy,node [default: default]')
            [CompletionResult]::new('--confine', '--confine', [CompletionResultType]::ParameterName, 'Hold the command, and all that it starts, to amb: off, or tcp, by which the kernel lets TCP lead to amb''s proxy only [default: off]')
            [CompletionResult]::new('--process-group', '--process-group', [CompletionResultType]::ParameterName, 'Which process group the command gets [default: auto]')
            [CompletionResult]::new('--run-timeout', '--run-timeout', [CompletionResultType]::ParameterName, 'Stop the command after this; exit with 124 [default: never]')
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'Kill the command this long after it was first told to stop [default: never]')
            [CompletionResult]::new('--kill-after', '--kill-after', [CompletionResultType]::ParameterName, 'Kill the command this long after it was first told to stop [default: never]')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'What to wait for before amb ends as the command did [default: main]')
            [CompletionResult]::new('--on-death', '--on-death', [CompletionResultType]::ParameterName, 'Signal for the command if amb itself is killed, or none [default: auto]')
            [CompletionResult]::new('--drain', '--drain', [CompletionResultType]::ParameterName, 'How long open requests may go on when the command has ended [default: 1s]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('--no-config', '--no-config', [CompletionResultType]::ParameterName, 'Ignore the user''s and the project''s file')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Show what would be done; start nothing')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Show what would be done; start nothing')
            [CompletionResult]::new('--circuit-breaker', '--circuit-breaker', [CompletionResultType]::ParameterName, 'Stop calling a host that keeps failing, for a while [default: off]')
            [CompletionResult]::new('--no-circuit-breaker', '--no-circuit-breaker', [CompletionResultType]::ParameterName, 'Call every host, whatever was said before')
            [CompletionResult]::new('--no-via', '--no-via', [CompletionResultType]::ParameterName, 'Leave out the Via header that amb adds to requests and responses')
            [CompletionResult]::new('--no-intercept', '--no-intercept', [CompletionResultType]::ParameterName, 'Tunnel everything, whatever was said before')
            [CompletionResult]::new('--no-fail', '--no-fail', [CompletionResultType]::ParameterName, 'Report assertions, and end as the command ended all the same [default: off]')
            [CompletionResult]::new('--proxy-loopback', '--proxy-loopback', [CompletionResultType]::ParameterName, 'Send requests to loopback through the proxy too [default: off]')
            [CompletionResult]::new('--no-proxy-loopback', '--no-proxy-loopback', [CompletionResultType]::ParameterName, 'Leave requests to loopback alone, whatever was said before')
            [CompletionResult]::new('--control', '--control', [CompletionResultType]::ParameterName, 'Let amb status of the same user see the run, through a socket in the runtime directory [default: on]')
            [CompletionResult]::new('--no-control', '--no-control', [CompletionResultType]::ParameterName, 'Let nobody look at the run while it goes on, whatever was said before')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'amb;demo' {
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'amb;init' {
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('--no-schema', '--no-schema', [CompletionResultType]::ParameterName, 'Do not write the schema, which editors complete and check amb.toml by')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'amb;config' {
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Show what holds')
            [CompletionResult]::new('explain', 'explain', [CompletionResultType]::ParameterValue, 'Explain a key: what it is for, what every layer says, which of them wins')
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Look for mistakes in all that would be read, or in these files')
            [CompletionResult]::new('schema', 'schema', [CompletionResultType]::ParameterValue, 'Print the JSON Schema of amb.toml, for editors')
            [CompletionResult]::new('path', 'path', [CompletionResultType]::ParameterValue, 'Say where files are looked for, and which are there')
            break
        }
        'amb;config;show' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]')
            [CompletionResult]::new('-p', '-p', [CompletionResultType]::ParameterName, 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]')
            [CompletionResult]::new('-s', '-s', [CompletionResultType]::ParameterName, 'Set any key, over all else: -s timeout.connect=2s; repeatable')
            [CompletionResult]::new('--set', '--set', [CompletionResultType]::ParameterName, 'Set any key, over all else: -s timeout.connect=2s; repeatable')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('--origin', '--origin', [CompletionResultType]::ParameterName, 'Say where each value comes from')
            [CompletionResult]::new('--changed', '--changed', [CompletionResultType]::ParameterName, 'Leave out built-in defaults')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'As JSON')
            [CompletionResult]::new('--no-config', '--no-config', [CompletionResultType]::ParameterName, 'Ignore the user''s and the project''s file')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'amb;config;explain' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]')
            [CompletionResult]::new('-p', '-p', [CompletionResultType]::ParameterName, 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]')
            [CompletionResult]::new('-s', '-s', [CompletionResultType]::ParameterName, 'Set any key, over all else: -s timeout.connect=2s; repeatable')
            [CompletionResult]::new('--set', '--set', [CompletionResultType]::ParameterName, 'Set any key, over all else: -s timeout.connect=2s; repeatable')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('--no-config', '--no-config', [CompletionResultType]::ParameterName, 'Ignore the user''s and the project''s file')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'amb;config;check' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]')
            [CompletionResult]::new('-p', '-p', [CompletionResultType]::ParameterName, 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]')
            [CompletionResult]::new('-s', '-s', [CompletionResultType]::ParameterName, 'Set any key, over all else: -s timeout.connect=2s; repeatable')
            [CompletionResult]::new('--set', '--set', [CompletionResultType]::ParameterName, 'Set any key, over all else: -s timeout.connect=2s; repeatable')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('--no-config', '--no-config', [CompletionResultType]::ParameterName, 'Ignore the user''s and the project''s file')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'amb;config;schema' {
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('--report', '--report', [CompletionResultType]::ParameterName, 'That of the JSON report instead')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'amb;config;path' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]')
            [CompletionResult]::new('-p', '-p', [CompletionResultType]::ParameterName, 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]')
            [CompletionResult]::new('-s', '-s', [CompletionResultType]::ParameterName, 'Set any key, over all else: -s timeout.connect=2s; repeatable')
            [CompletionResult]::new('--set', '--set', [CompletionResultType]::ParameterName, 'Set any key, over all else: -s timeout.connect=2s; repeatable')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('--no-config', '--no-config', [CompletionResultType]::ParameterName, 'Ignore the user''s and the project''s file')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'amb;policy' {
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('test', 'test', [CompletionResultType]::ParameterValue, 'Say what would hold for a request: by which route it would go, and which values apply')
            [CompletionResult]::new('suggest', 'suggest', [CompletionResultType]::ParameterValue, 'Write the list of what may be asked for, from reports of what was')
            [CompletionResult]::new('verify', 'verify', [CompletionResultType]::ParameterValue, 'Check the signature of a policy, as minisign makes it')
            break
        }
        'amb;policy;test' {
            [CompletionResult]::new('--cases', '--cases', [CompletionResultType]::ParameterName, 'Try the requests of a file, and fail if one does not come out as it is expected to')
            [CompletionResult]::new('-H', '-H ', [CompletionResultType]::ParameterName, 'A header field that it has; repeatable')
            [CompletionResult]::new('--header', '--header', [CompletionResultType]::ParameterName, 'A header field that it has; repeatable')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]')
            [CompletionResult]::new('-p', '-p', [CompletionResultType]::ParameterName, 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]')
            [CompletionResult]::new('-s', '-s', [CompletionResultType]::ParameterName, 'Set any key, over all else: -s timeout.connect=2s; repeatable')
            [CompletionResult]::new('--set', '--set', [CompletionResultType]::ParameterName, 'Set any key, over all else: -s timeout.connect=2s; repeatable')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'As JSON')
            [CompletionResult]::new('--no-config', '--no-config', [CompletionResultType]::ParameterName, 'Ignore the user''s and the project''s file')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'amb;policy;suggest' {
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('--last', '--last', [CompletionResultType]::ParameterName, 'The last report that was kept; see --keep-reports of `amb run`')
            [CompletionResult]::new('--generalise', '--generalise', [CompletionResultType]::ParameterName, 'Take three names and more together that are below one owner''s domain: *.example.com')
            [CompletionResult]::new('--generalize', '--generalize', [CompletionResultType]::ParameterName, 'Take three names and more together that are below one owner''s domain: *.example.com')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'amb;policy;verify' {
            [CompletionResult]::new('--key', '--key', [CompletionResultType]::ParameterName, 'The public key of who signs, or the file that it is in')
            [CompletionResult]::new('--signature', '--signature', [CompletionResultType]::ParameterName, 'The signature, if it is in another file')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'amb;report' {
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'The format: json, junit, html, md, openmetrics, k6 [default: by the name of the output; a summary for people without one]')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'The format: json, junit, html, md, openmetrics, k6 [default: by the name of the output; a summary for people without one]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Write it to this file [default: stdout]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Write it to this file [default: stdout]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('--last', '--last', [CompletionResultType]::ParameterName, 'The last report that was kept; see --keep-reports of `amb run`')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('merge', 'merge', [CompletionResultType]::ParameterValue, 'Make one report of several')
            [CompletionResult]::new('diff', 'diff', [CompletionResultType]::ParameterValue, 'Compare two reports: new and vanished hosts, changed counts and times')
            break
        }
        'amb;report;merge' {
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'The format: json, junit, html, md, openmetrics, k6 [default: by the name of the output; a summary for people without one]')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'The format: json, junit, html, md, openmetrics, k6 [default: by the name of the output; a summary for people without one]')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Write it to this file [default: stdout]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Write it to this file [default: stdout]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'amb;report;diff' {
            [CompletionResult]::new('--fail-on', '--fail-on', [CompletionResultType]::ParameterName, 'Fail if this is so; comma-separated, repeatable: new-hosts, vanished-hosts, failed=5, p95=20%')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'As JSON')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'amb;status' {
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'As JSON')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'amb;ca' {
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('create', 'create', [CompletionResultType]::ParameterValue, 'Make one that is kept: ca.pem, and ca.key for you alone')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Show the one that is configured: whose it is, its fingerprint, how long it is valid, and what is wrong with it')
            [CompletionResult]::new('path', 'path', [CompletionResultType]::ParameterValue, 'Say where the one that is configured is: its certificate, then its key')
            break
        }
        'amb;ca;create' {
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'What it is called')
            [CompletionResult]::new('--days', '--days', [CompletionResultType]::ParameterName, 'How many days it is valid')
            [CompletionResult]::new('--host', '--host', [CompletionResultType]::ParameterName, 'Confine it to this host and those below it; repeatable [default: any host]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('--force', '--force', [CompletionResultType]::ParameterName, 'Replace the one that is there')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'amb;ca;show' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]')
            [CompletionResult]::new('-p', '-p', [CompletionResultType]::ParameterName, 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]')
            [CompletionResult]::new('-s', '-s', [CompletionResultType]::ParameterName, 'Set any key, over all else: -s timeout.connect=2s; repeatable')
            [CompletionResult]::new('--set', '--set', [CompletionResultType]::ParameterName, 'Set any key, over all else: -s timeout.connect=2s; repeatable')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('--no-config', '--no-config', [CompletionResultType]::ParameterName, 'Ignore the user''s and the project''s file')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'amb;ca;path' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read this file as well, over amb.toml and the variables [env: AMB_CONFIG]')
            [CompletionResult]::new('-p', '-p', [CompletionResultType]::ParameterName, 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Apply [profile.NAME]; repeatable, the last one wins [env: AMB_PROFILE]')
            [CompletionResult]::new('-s', '-s', [CompletionResultType]::ParameterName, 'Set any key, over all else: -s timeout.connect=2s; repeatable')
            [CompletionResult]::new('--set', '--set', [CompletionResultType]::ParameterName, 'Set any key, over all else: -s timeout.connect=2s; repeatable')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('--no-config', '--no-config', [CompletionResultType]::ParameterName, 'Ignore the user''s and the project''s file')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'amb;doctor' {
            [CompletionResult]::new('--time-limit', '--time-limit', [CompletionResultType]::ParameterName, 'How long each may take')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'As JSON')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'amb;trust' {
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('--remove', '--remove', [CompletionResultType]::ParameterName, 'Trust it no more')
            [CompletionResult]::new('--list', '--list', [CompletionResultType]::ParameterName, 'List what is trusted')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'amb;completions' {
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'amb;help' {
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say less: no summary and no warnings; errors stay')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more of what amb does; -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
