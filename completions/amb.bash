# Completion of amb for bash. Own words come from `amb complete`, those of the wrapped command from bash-completion.
_amb() {
    # bash splits at = and : too; amb wants the words as they are typed, and bash its own pieces back.
    local line=$COMP_LINE piece glued index
    local -a words=() pieces=()
    for ((index = 0; index <= COMP_CWORD; index++)); do
        piece=${COMP_WORDS[index]}
        glued=1
        while [[ $line == [[:space:]]* ]]; do
            line=${line:1}
            glued=
        done
        if [[ $glued && $index -gt 0 ]]; then
            words[${#words[@]}-1]+=$piece
        else
            words+=("$piece")
            pieces+=("$index")
        fi
        line=${line#"$piece"}
    done
    local current=${words[${#words[@]}-1]}
    local before=${current%"$2"}

    local -a found=()
    mapfile -t found < <("$1" complete "$((${#words[@]} - 1))" -- "${words[@]}" 2>/dev/null)
    if [[ ${found[0]-} == 'command '* ]]; then
        local begin=${pieces[${found[0]#command }]}
        compopt +o nospace +o nosort
        if declare -F _comp_command_offset >/dev/null; then
            _comp_command_offset "$begin"
        elif declare -F _command_offset >/dev/null; then
            _command_offset "$begin"
        elif ((begin == COMP_CWORD)); then
            mapfile -t COMPREPLY < <(compgen -c -- "$2" | sort -u)
        else
            compopt -o default
        fi
        return
    fi
    COMPREPLY=()
    for piece in "${found[@]}"; do
        piece=${piece%%$'\t'*}
        COMPREPLY+=("${piece#"$before"}")
    done
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} != *[=/:,] ]] && compopt +o nospace
}
complete -o nospace -o nosort -F _amb amb
