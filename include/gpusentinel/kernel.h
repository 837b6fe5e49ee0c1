/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The kernel as detectors see it: types, symbols and helpers under the kernel's own names.
 *
 * Only what detectors use is declared, and of each type only the members that they read: layout,
 * offsets and sizes come from the watched kernel's own BTF when a detector is loaded. The order
 * of members here means nothing.
 *
 * A member that some kernels lack is asked for with bpf_core_field_exists() before it is read; a
 * member whose type changed is declared once more in a `___flavor` of its struct (the part from
 * the three underscores on is not part of the name). Each such fork names the kernel commit that
 * made it. No helper looks at a version number.
 *
 * All helpers end by themselves on intact data. On damaged data they end at the first NULL link
 * (a load that fails yields zero), and a cycle is ended by the budget of the run.
 */
#ifndef GPUSENTINEL_KERNEL_H
#define GPUSENTINEL_KERNEL_H

#include <gpusentinel/detector.h>

#include <gpusentinel/kernel/base.h>
#include <gpusentinel/kernel/block.h>
#include <gpusentinel/kernel/bpf.h>
#include <gpusentinel/kernel/cgroup.h>
#include <gpusentinel/kernel/cpu.h>
#include <gpusentinel/kernel/cputime.h>
#include <gpusentinel/kernel/cred.h>
#include <gpusentinel/kernel/device.h>
#include <gpusentinel/kernel/fdtable.h>
#include <gpusentinel/kernel/fs.h>
#include <gpusentinel/kernel/locking.h>
#include <gpusentinel/kernel/mm.h>
#include <gpusentinel/kernel/module.h>
#include <gpusentinel/kernel/module_symbols.h>
#include <gpusentinel/kernel/mount.h>
#include <gpusentinel/kernel/net.h>
#include <gpusentinel/kernel/netdevice.h>
#include <gpusentinel/kernel/patching.h>
#include <gpusentinel/kernel/path.h>
#include <gpusentinel/kernel/pid.h>
#include <gpusentinel/kernel/printk.h>
#include <gpusentinel/kernel/psi.h>
#include <gpusentinel/kernel/rcu.h>
#include <gpusentinel/kernel/sched.h>
#include <gpusentinel/kernel/slab.h>
#include <gpusentinel/kernel/sock.h>
#include <gpusentinel/kernel/stacktrace.h>
#include <gpusentinel/kernel/system.h>
#include <gpusentinel/kernel/time.h>
#include <gpusentinel/kernel/vmalloc.h>
#include <gpusentinel/kernel/xarray.h>
#include <gpusentinel/kernel/xarray_gather.h>

#endif
