# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154,SC2207
# Completion of gpusentinel and of grass, for bash-completion. Commands, options and detectors are asked of the program
# that is called; known here is only what kind of argument an option takes.

# The commands are the second paragraph of `PROGRAM --help`.
_gpusentinel_commands()
{
	"$1" --help 2>/dev/null | awk -v RS= -F'\n' 'NR == 2 { for (i = 1; i <= NF; i++) { split($i, word, " "); print word[1] } }'
}

# Options as help shows them, one "OPTION [ARGUMENT]" a line: "-p, --param WHAT", "--keys DIR, --as NAME".
_gpusentinel_options()
{
	{
		"$1" --help
		[ -z "$2" ] || "$1" "$2" --help
		# "with its options but --once"
		[ "$2" != serve ] || "$1" run --help | grep -v -e '--once'
	} 2>/dev/null | awk '
		/^  -/ {
			rest = substr($0, 2)
			while (match(rest, / (-[A-Za-z]|--[a-z][a-z-]*)(, (-[A-Za-z]|--[a-z][a-z-]*))*( [^ ,;]+)?/)) {
				count = split(substr(rest, RSTART + 1, RLENGTH - 1), word, /,? /)
				argument = word[count] ~ /^-[A-Za-z-]/ ? "" : word[count--]
				for (i = 1; i <= count; i++)
					print word[i], argument
				rest = substr(rest, RSTART + RLENGTH)
			}
		}
		END { print "--help"; print "--version" }'
}

# Targets: a kind, or what is there of a kind.
_gpusentinel_targets()
{
	local kinds guest

	kinds=$("$1" --help 2>/dev/null | sed -nE 's/^  -t TARGET +//p' | grep -oE '\b([a-z]+:|host\b)')
	case $cur in
	core:*)
		cur=${cur#core:}
		_filedir
		COMPREPLY=("${COMPREPLY[@]/#/core:}")
		;;
	qemu:/*)
		cur=${cur#qemu:}
		_filedir
		COMPREPLY=("${COMPREPLY[@]/#/qemu:}")
		;;
	qemu:*)
		kinds=$(cd "${GPUSENTINEL_LAB:-/run/gpusentinel-lab}" 2>/dev/null && printf 'qemu:%s\n' */qmp.sock)
		COMPREPLY=($(compgen -W "${kinds//\/qmp.sock/}" -- "$cur"))
		;;
	*)
		COMPREPLY=($(compgen -W "$kinds" -- "$cur"))
		[[ ${COMPREPLY[*]} != *: ]] || compopt -o nospace
		;;
	esac
	__ltrim_colon_completions "$full"
}

# The argument of option $2, in the command $3.
_gpusentinel_argument()
{
	local full=$cur

	case $2 in
	-t | --target) _gpusentinel_targets "$1" ;;
	-e | --engine) COMPREPLY=($(compgen -W 'auto cpu cuda' -- "$cur")) ;;
	--fabric) COMPREPLY=($(compgen -W 'verbs shm' -- "$cur")) ;;
	--device) COMPREPLY=($(compgen -W "$(ls /sys/class/infiniband 2>/dev/null)" -- "$cur")) ;;
	--detectors | --keys) _filedir -d ;;
	--system-map | --rules | --config | -o | --output | -H | --hosts | --via | --socket) _filedir ;;
	-l | --level)
		# Several with commas.
		full=${cur%"${cur##*,}"}
		COMPREPLY=($(compgen -P "$full" -W 'emerg alert crit err warn notice info debug
			crit+ err+ warn+ notice+ info+' -- "${cur##*,}"))
		;;
	--sort)
		if [ "$3" = top ]; then
			COMPREPLY=($(compgen -W 'cpu rss time pid' -- "$cur"))
		else
			COMPREPLY=($(compgen -W '-rss -time -start -threads pid ppid uid state rss time start comm' -- "$cur"))
		fi
		;;
	-p | --param)
		[[ $cur != *=* ]] || return
		COMPREPLY=($(compgen -W "$("$1" "${where[@]}" list 2>/dev/null |
			awk 'there { print $1 "=" } /^PARAMETER/ { there = 1 }')" -- "$cur"))
		compopt -o nospace
		;;
	esac
}

# Names and files of detectors.
_gpusentinel_detectors()
{
	_filedir so
	COMPREPLY+=($(compgen -W "$("$1" "${where[@]}" list 2>/dev/null |
		awk 'NR > 1 { if (!NF) exit; print $1 }')" -- "$cur"))
}

# What stands after HOST... of grass: names from a file of hosts; for keys a directory, then what to make.
_grass_operand()
{
	if [ "$1" = keys ]; then
		if [ "$operands" -eq 0 ]; then
			_filedir -d
		elif [ "$operands" -eq 1 ]; then
			COMPREPLY=($(compgen -W 'ca host monitor' -- "$cur"))
		fi
	else
		COMPREPLY=($(compgen -W "$(sed 's/#.*//' "$hosts" 2>/dev/null)" -- "$cur"))
	fi
}

_gpusentinel()
{
	local cur prev words cword split program=$1 command='' options='' i word operands=0
	local where=() hosts=/etc/gpusentinel/hosts

	_init_completion -s -n : || return
	options=$(_gpusentinel_options "$program" '')
	for ((i = 1; i < cword; i++)); do
		word=${words[i]}
		case $word in
		--detectors) where=(--detectors "${words[i + 1]}") ;;
		--detectors=*) where=("$word") ;;
		-H | --hosts) hosts=${words[i + 1]} ;;
		esac
		if [[ $word == -* ]]; then
			# --layout and --system-map: help has them in one line, without arguments.
			[[ $word == *=* ]] || ! { grep -qE -e "^$word [^ ]" <<<"$options" ||
				[[ $word =~ ^--(target|engine|layout|system-map)$ ]]; } || ((i++))
		elif [ -z "$command" ]; then
			command=$word
			options=$(_gpusentinel_options "$program" "$command")
		else
			((operands++))
		fi
	done
	if $split || { [[ $prev == -* ]] && [ "$i" -gt "$cword" ]; }; then
		_gpusentinel_argument "$program" "$prev" "$command"
	elif [[ $cur == -* ]]; then
		COMPREPLY=($(compgen -W "$(cut -d ' ' -f 1 <<<"$options")" -- "$cur"))
	elif [ -z "$command" ]; then
		COMPREPLY=($(compgen -W "$(_gpusentinel_commands "$program")" -- "$cur"))
	elif [[ ${program##*/} == grass ]]; then
		_grass_operand "$command"
	elif [[ $command =~ ^(run|serve|top|list)$ ]]; then
		_gpusentinel_detectors "$program"
	fi
}

complete -F _gpusentinel gpusentinel grass
