# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What rootkits do, by lab/rootkit: a module that loads in guests of the lab alone.

fault_rootkit_help()
{
	cat <<-'END'
	What rootkits do, by a module (lab/rootkit):
	  rootkit       one of these tricks, by --trick; hooks count calls and pass them on
	    hide-task     takes a process off the list of tasks
	    hide-pid      takes its pid out of the IDR: it is no longer in /proc
	    hide-module   takes the module itself off the list of modules
	    syscall       an entry of the system-call table leads to the module
	    text          one byte of the kernel's text is another one
	    ftrace, kprobe, netfilter, notifier, timer
	                  hooks that the kernel offers
	    fops          the operations of the directory /proc are a table of the module
	    fops-outside  the read function of /dev/null is in memory that is no module's
	    proto         the shutdown function of TCP is the module's
	    cred          a process is user 0 with all capabilities, written over its credentials
	    cred-caps     it has all capabilities
	    cred-init     it uses the kernel's own credentials
	    heal          undoes all of them
	The process is one named "lab-victim"; without --pid it is started.
	END
}

# What the module needs and the kernel does not export, in its order; 0 for what is not there.
rootkit_addresses='sys_call_table modules null_fops set_memory_ro set_memory_x'

rootkit_insert()
{
	local lines name address found=''

	fault_sh '[ -d /sys/module/lab_rootkit ]' && return
	lines=$(fault_sh "grep -E ' (${rootkit_addresses// /|})\$' /proc/kallsyms") || return 1
	for name in $rootkit_addresses; do
		address=$(sed -nE "s/^([0-9a-f]{16}) . $name\$/\1/p" <<<"$lines" | head -n 1)
		found+=,0x${address:-0}
	done
	fault_insert lab_rootkit "addresses=${found#,}"
}

inject_rootkit()
{
	local state parameters=/sys/module/lab_rootkit/parameters

	[[ $trick =~ ^[a-z-]+$ ]] || usage_error "rootkit: --trick is missing; see 'lab/guest fault --help'"
	case $trick in
	heal)
		fault_sh "echo 1 >$parameters/heal" >&2 || return 1
		printf 'rootkit: all undone\n'
		return
		;;
	hide-task | hide-pid | cred | cred-caps | cred-init)
		rootkit_insert || return 1
		# One that has a trick played on it goes on as the victim. A new one is let live for a while: who looks for changes
		# must have seen what it was.
		[ "$victim" -gt 0 ] || victim=$(fault_sh "
			grep -qE '^(hide-task|hide-pid|cred.*) on ' $parameters/state &&
				cat $parameters/pid || { victim && sleep 1; }") || return 1
		fault_sh "echo $victim >$parameters/pid" >&2 || return 1
		;;
	*) rootkit_insert || return 1 ;;
	esac
	fault_sh "begins; echo $trick >$parameters/on" >&2 || return 1
	state=$(fault_sh "grep '^$trick on ' $parameters/state") || return 1
	printf 'rootkit: %s' "${state% calls=*}"
	[ "$victim" -eq 0 ] || printf ' pid=%s' "$victim"
	printf '\n'
}
