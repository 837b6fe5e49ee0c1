# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154,SC2207
# Completion of llview, for bash-completion; options are asked of `llview --help`.

_llview()
{
	local cur prev words cword split

	_init_completion -s || return
	case $prev in
	-o | --output | --dump) _filedir so ;;
	--include | -include) _filedir h ;;
	-I | --keep-ir | --runtime | --source-root) _filedir -d ;;
	--overlap) COMPREPLY=($(compgen -W 'gpu all none' -- "$cur")) ;;
	-D | -U | -W) ;;
	*)
		if [[ $cur == -* ]]; then
			COMPREPLY=($(compgen -W "$("$1" --help 2>/dev/null | sed -nE \
				's/^ +(-., |-. [^ ]+ )?(--[a-z-]+)?.*/\2/p') -o -I -D -U -W" -- "$cur"))
			[[ ${COMPREPLY[*]} != *= ]] || compopt -o nospace
		else
			_filedir c
		fi
		;;
	esac
}

complete -F _llview llview
