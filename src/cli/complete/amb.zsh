#compdef amb
# Completion of amb for zsh. Own words come from `amb complete`, those of the wrapped command from zsh's own functions.
_amb() {
    local -a found plain open
    local line value
    found=("${(@f)$(_call_program amb ${(q)words[1]} complete $((CURRENT - 1)) -- ${(q)words[1,CURRENT]})}")
    if [[ ${found[1]} == 'command '* ]]; then
        local begin=${found[1]#command }
        shift $begin words
        ((CURRENT -= begin))
        _normal
        return
    fi
    for line in $found; do
        value=${line%%$'\t'*}
        value=${value//:/\\:}
        [[ $line == *$'\t'* ]] && value+=":${line#*$'\t'}"
        # Behind these comes more.
        if [[ ${line%%$'\t'*} == *[=/:,] ]]; then
            open+=("$value")
        else
            plain+=("$value")
        fi
    done
    # A word such as --summary=compact is whole, and so is a list.
    local result=1
    (( $#plain )) && _describe -V 'amb' plain -U && result=0
    (( $#open )) && _describe -V 'amb' open -U -S '' && result=0
    return result
}
if [[ $funcstack[1] == _amb ]]; then
    _amb "$@"
else
    compdef _amb amb
fi
