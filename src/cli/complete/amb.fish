# Completion of amb for fish. Own words come from `amb complete`, those of the wrapped command from fish itself.
function __amb_complete
    set -l words (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token --cut-at-cursor)
    set -l found ($words[1] complete (math (count $words) - 1) -- $words 2>/dev/null)
    set -l begin (string match --regex --groups-only '^command (\d+)$' -- $found[1])
    if test -n "$begin"
        set -l command (string escape -- $words[(math $begin + 1)..-2])
        set -l line (string join ' ' -- $command (commandline --current-token --cut-at-cursor))
        complete "--do-complete=$line"
        return
    end
    string join \n -- $found
end
complete --command amb --no-files --keep-order --arguments '(__amb_complete)'
