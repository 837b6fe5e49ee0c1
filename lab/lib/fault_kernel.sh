# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Faults of the kernel itself: by sysrq, and by the lab's module.

fault_kernel_help()
{
	cat <<-'END'
	Of the kernel:
	  panic         sysrq-c; the guest is dead from then on, its memory stays
	By a module (lab/module), in a kernel thread "lab-FAULT" that is bound to one CPU:
	  softlockup    it spins with preemption off, while "lab-waiter" waits for that CPU
	  hardlockup    it spins with interrupts off
	  freeze        the same on all CPUs at once; no heal, but --for
	  spin-aa       it takes a spinlock that it has
	  spin-abba     it and "lab-spin-ba" on another CPU each wait for the other's spinlock
	  mutex-abba    "lab-mutex-ab" and "lab-mutex-ba" do so with mutexes, in state D
	  dstate        it sleeps in state D for good
	  rcu-spin      a reader of RCU that spins, while a grace period waits
	  rcu-sleep     one that sleeps (kernels with preemptible RCU: not 5.10)
	  leak-slab     kmalloc-1k grows, at --rate up to --count MiB (default: all that there is)
	  leak-cache    the same, in a slab cache "lab_leak"
	  leak-vmalloc  the same, in vmalloc areas of 64 KiB
	  leak-pages    the same, in pages that nothing accounts for
	  oops          it writes to a NULL pointer
	  bug, warn     BUG() and WARN()
	  list          it deletes from a list with a wrong link, which the kernel finds
	  stack         it recurses until its stack overflows; the guest is dead
	  task-circle   the list of tasks leads from "lab-circle-2" back to "lab-circle-1": walks do not end
	END
}

inject_panic()
{
	# In the background: the command cannot report its end.
	fault_sh 'echo 1 >/proc/sys/kernel/sysrq; (sleep 0.1; begins; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &'
	fault_wait "$seconds" 'end Kernel panic - not syncing' "$from" >/dev/null || return 1
	# That line is the last; the one that says why stands before it.
	fault_wait 1 'Kernel panic - not syncing' "$from"
}

# Print the directory of the guest's kernel in the cache.
fault_kernel()
{
	local config kernel release

	config=$(sed -n 's/^kernel=//p' "$dir/config")
	[ -n "$config" ] || die "$guest: no modules for a kernel that is not the lab's"
	kernel=$(kernel_fetch "${config%-*}" "${config##*-}")
	release=$(fault_sh 'uname -r')
	[ "$release" = "$(<"$kernel/release")" ] ||
		die "$guest: runs $release, and the cache has $(<"$kernel/release") by now; boot it anew"
	printf '%s\n' "$kernel"
}

# fault_kernel_module NAME [PARAMETER...]: load a module of the guest's kernel, and first those that it needs. Through
# the shell's channel, as all modules of faults: an initramfs holds what every guest needs.
fault_kernel_module()
{
	local kernel name=$1 out
	shift

	kernel=$(fault_kernel) || return 1
	out=$(mktemp -d)
	: >"$out/order"
	module_add "$kernel/lib/modules/$(<"$kernel/release")" "$name" "$out"
	tar -C "$out" -c . | fault_sh -i "
		mkdir -p /tmp/modules && tar -C /tmp/modules -x && cd /tmp/modules || exit 1
		while read -r file; do
			[ ! -d /sys/module/\${file%.ko} ] || continue
			case \$file in
			${name//-/_}.ko) insmod \$file $* ;;
			*) insmod \$file ;;
			esac || exit 1
		done <order" >&2
	rm -r "$out"
}

# fault_insert NAME [PARAMETERS]: load a module of the lab, unless it is there.
fault_insert()
{
	local config module

	fault_kernel >/dev/null || return 1
	config=$(sed -n 's/^kernel=//p' "$dir/config")
	module=$(module_build "${config%-*}" "${config##*-}" "$1") || return 1
	fault_sh "[ -d /sys/module/$1 ]" || {
		fault_sh -i "cat >/tmp/$1.ko" <"$module"
		fault_sh "insmod /tmp/$1.ko ${2:-}" >&2
	}
}

# fault_module [PATTERN]: until the module says that it begins, and the kernel says something like that.
fault_module()
{
	local shows=${1:-}

	fault_insert lab_fault || return 1
	fault_sh "cd /sys/module/lab_fault/parameters && echo $cpu >cpu && echo $duration >seconds &&
		echo $rate >rate && echo ${count:-0} >count && echo $fault >fault" >&2 || return 1
	fault_wait "$seconds" "lab_fault: $fault begins" "$from" || return 1
	[ -z "$shows" ] || fault_wait "$seconds" "$shows" "$from" >/dev/null
}

inject_softlockup() { fault_module; }
inject_hardlockup() { fault_module; }
inject_freeze() { fault_module; }
inject_spin-aa() { fault_module; }
inject_spin-abba() { fault_module; }
inject_dstate() { fault_module; }
inject_rcu-spin() { fault_module; }
inject_rcu-sleep() { fault_module; }
inject_leak-slab() { fault_module; }
inject_leak-cache() { fault_module; }
inject_leak-vmalloc() { fault_module; }
inject_leak-pages() { fault_module; }
inject_oops() { fault_module 'Oops'; }
inject_bug() { fault_module 'kernel BUG at'; }
inject_warn() { fault_module 'WARNING: '; }
inject_list() { fault_module 'list_del corruption'; }
inject_stack() { fault_module 'Kernel panic - not syncing'; }
inject_task-circle() { fault_module; }

# Both wait, by what /proc says.
inject_mutex-abba()
{
	fault_module || return 1
	fault_until "$seconds" '
		[ "$(cat /proc/[0-9]*/stat | grep -cE "\(lab-mutex-(ab|ba)\) D ")" = 2 ]' >/dev/null
}
