// SPDX-License-Identifier: Apache-2.0
// The VMCOREINFO note: any bytes, read as a note.
#include <stdlib.h>

#include "kernel/vmcoreinfo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "_stext",	       "phys_base", "page",
					     "swapper_pg_dir", "",	    "a)=1\nSYMBOL(b" };
	static struct vmcoreinfo info;
	uint64_t value;
	int64_t number;

	if (!vmcoreinfo_parse(data, size, &info))
		return 0;
	if (!info.release[0])
		abort();
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		vmcoreinfo_symbol(&info, names[i], &value);
		vmcoreinfo_number(&info, names[i], &number);
		vmcoreinfo_sizeof(&info, names[i], &value);
		vmcoreinfo_hex(&info, names[i], &value);
	}
	return 0;
}
