# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What was found out: a line on the terminal and in results.txt for each, results.json and results.md at the end.

checks=() facts=() measurements=() rows=() failed=0

json_string()
{
	local s=$1

	s=${s//\\/\\\\}
	s=${s//\"/\\\"}
	s=${s//[[:cntrl:]]/ }
	printf '"%s"' "$s"
}

say()
{
	printf "$@" | tee -a "$out/results.txt"
}

# check NAME ok|FAIL|skip WHY [JSON]: the last with a leading comma
check()
{
	local result=$2

	say '%-4s  %-28s %s\n' "$2" "$1" "$3"
	case $result in
	FAIL)
		failed=1
		result=failed
		;;
	skip) result=skipped ;;
	esac
	checks+=("{\"name\": $(json_string "$1"), \"result\": \"$result\", \"why\": $(json_string "$3")${4:-}}")
	rows+=("| $1 | $result | ${3//|/\\|} |")
}

fact()
{
	say '      %-28s %s\n' "$1" "$2"
	facts+=("$(json_string "$1"): $(json_string "$2")")
}

# measure NAME NUMBER UNIT
measure()
{
	say '      %-28s %s %s\n' "$1" "$2" "$3"
	measurements+=("{\"name\": $(json_string "$1"), \"value\": $2, \"unit\": $(json_string "$3")}")
}

# calc EXPRESSION: print its value; awk's syntax
calc()
{
	"$kit/bin/busybox" awk "BEGIN { printf \"%.6g\", ($1) }" 2>>"$out/log.txt"
}

holds()
{
	[ "$(calc "($1) ? 1 : 0")" = 1 ]
}

is_number()
{
	[[ ${1:-} =~ ^-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?$ ]]
}

# number_of WORD FILE: of what a program printed, lines "WORD NUMBER UNIT"
number_of()
{
	sed -nE "s/^$1 ([0-9.e+]+) .*/\1/p" "$2"
}

# judge NAME VALUE UNIT at-most|at-least LIMIT WHAT: limits are those of GPUs; elsewhere the value is shown, and not
# judged. WHAT says how the value came about.
judge()
{
	local name=$1 value=$2 unit=$3 relation=$4 limit=$5 what=$6 result=FAIL sign='<=' json

	if ! is_number "$value"; then
		check "$name" FAIL "nothing was measured: $what"
		return
	fi
	[ "$relation" = at-most ] || sign='>='
	json=", \"value\": $value, \"unit\": $(json_string "$unit"), \"relation\": \"$relation\", \"limit\": $limit"
	json+=", \"ratio\": $(calc "$limit ? $value / $limit : 0")"
	if holds "$value $sign $limit"; then
		result=ok
	elif [ "$engine" != cuda ]; then
		result=skip
		what+="; the limit is for cuda"
	fi
	check "$name" "$result" "$value $unit, $relation $limit: $what" "$json"
}

# join WORD...: with commas and line ends between them
join()
{
	local first=1 word

	for word; do
		[ "$first" = 1 ] || printf ',\n'
		first=0
		printf '    %s' "$word"
	done
	printf '\n'
}

write_json()
{
	{
		printf '{\n  "kit": %s,\n  "date": "%s",\n' "$(json_string "$(cat "$kit/version")")" "$date"
		printf '  "engine": "%s",\n  "failed": %s,\n  "seconds": %s,\n' "$engine" \
			"$([ "$failed" = 0 ] && echo false || echo true)" "$SECONDS"
		printf '  "facts": {\n'
		join ${facts[@]+"${facts[@]}"}
		printf '  },\n  "checks": [\n'
		join ${checks[@]+"${checks[@]}"}
		printf '  ],\n  "measurements": [\n'
		join ${measurements[@]+"${measurements[@]}"}
		printf '  ]\n}\n'
	} >"$out/results.json"
}

# docs/gpu-results.md is this file of the last run.
write_markdown()
{
	{
		cat <<-END
		# Results of the GPU kit

		The last run of the kit (docs/gpu.md) on a host with a GPU; gpu-kit/run writes this page as results.md.
		Limits were measured in the same run. Absolute times are this host's.

		    gpu-kit/make -o gpu-kit.tar.gz --kernels "$(cat "$kit/kernels")" build
		    tar xzf gpu-kit.tar.gz && gpu-kit/run -o results       # there, as root; it took $SECONDS s

		${gpu_line:-no GPU}; $date; commit $(cat "$kit/version"); engine $engine.

		| check | result | what |
		| --- | --- | --- |
		END
		printf '%s\n' ${rows[@]+"${rows[@]}"}
		printf '\nEverything that was printed:\n\n'
		sed 's/^/    /' "$out/results.txt"
	} >"$out/results.md"
}
