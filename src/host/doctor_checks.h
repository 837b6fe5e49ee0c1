/* SPDX-License-Identifier: Apache-2.0 */
// Between the files of the doctor. A check fills in all but the name; false: there is nothing to say.
#ifndef GS_HOST_DOCTOR_CHECKS_H
#define GS_HOST_DOCTOR_CHECKS_H

#include "host/doctor.h"

typedef bool doctor_check_fn(const struct doctor *doctor, struct doctor_finding *finding);

// What may be read (doctor_access.c).
doctor_check_fn doctor_secure_boot, doctor_lockdown, doctor_encrypted, doctor_module,
	doctor_memlock;
// What becomes of the machine when its system dies (doctor_death.c).
doctor_check_fn doctor_kdump, doctor_panic, doctor_panics, doctor_watchdog, doctor_sysrq;
// GPU and NIC (doctor_devices.c).
doctor_check_fn doctor_gpu, doctor_driver, doctor_persistence, doctor_confidential, doctor_iommu,
	doctor_rdma, doctor_peer_memory;

// Always true.
bool doctor_say(struct doctor_finding *finding, enum doctor_verdict verdict, const char *advice,
		const char *format, ...) __attribute__((format(printf, 4, 5)));

// The first GPU of NVIDIA: its address on the PCI bus. False: there is none.
bool doctor_find_gpu(const struct doctor *doctor, char *address, size_t size);

#endif
