/* SPDX-License-Identifier: Apache-2.0 */
// The kernels of probe_async.c.
#ifndef TEST_PROBE_ASYNC_PTX_H
#define TEST_PROBE_ASYNC_PTX_H

#define PTX_HEAD ".version 7.0\n.target sm_80\n.address_size 64\n"

// Counts in @alive until page[0] is set. Meanwhile the word at the address in page[1], if there is one, is
// copied to page[2].
#define PTX_SPIN                                                      \
	".visible .entry spin(.param .u64 page, .param .u64 alive)\n" \
	"{\n"                                                         \
	"	.reg .pred %p<4>;\n"                                        \
	"	.reg .u64 %rd<9>;\n"                                        \
	"	ld.param.u64 %rd1, [page];\n"                               \
	"	ld.param.u64 %rd2, [alive];\n"                              \
	"	mov.u64 %rd3, %globaltimer;\n"                              \
	"	add.u64 %rd3, %rd3, 30000000000;\n"                         \
	"	mov.u64 %rd4, 0;\n"                                         \
	"again:\n"                                                    \
	"	add.u64 %rd4, %rd4, 1;\n"                                   \
	"	st.volatile.u64 [%rd2], %rd4;\n"                            \
	"	ld.volatile.u64 %rd5, [%rd1+8];\n"                          \
	"	setp.eq.u64 %p1, %rd5, 0;\n"                                \
	"	@%p1 bra nothing;\n"                                        \
	"	ld.volatile.u64 %rd6, [%rd5];\n"                            \
	"	st.volatile.u64 [%rd1+16], %rd6;\n"                         \
	"nothing:\n"                                                  \
	"	nanosleep.u32 20000;\n"                                     \
	"	mov.u64 %rd7, %globaltimer;\n"                              \
	"	setp.gt.u64 %p2, %rd7, %rd3;\n"                             \
	"	@%p2 bra done;\n"                                           \
	"	ld.volatile.u64 %rd8, [%rd1];\n"                            \
	"	setp.eq.u64 %p3, %rd8, 0;\n"                                \
	"	@%p3 bra again;\n"                                          \
	"done:\n"                                                     \
	"	ret;\n"                                                     \
	"}\n"

// A kernel that ends, NAME with a parameter, and uses BYTES of local memory.
#define PTX_SHORT(name, bytes)                             \
	".visible .entry " name "(.param .u64 at)\n"       \
	"{\n"                                              \
	"	.local .align 8 .b8 scratch[" bytes "];\n" \
	"	.reg .u64 %rd<8>;\n"                             \
	"	ld.param.u64 %rd1, [at];\n"                      \
	"	mov.u64 %rd2, scratch;\n"                        \
	"	ld.volatile.u64 %rd3, [%rd1];\n"                 \
	"	and.b64 %rd3, %rd3, " bytes "-8;\n"        \
	"	add.u64 %rd4, %rd2, %rd3;\n"                     \
	"	st.local.u64 [%rd4], %rd1;\n"                    \
	"	ld.local.u64 %rd5, [%rd2+" bytes "-8];\n"  \
	"	st.volatile.u64 [%rd1+8], %rd5;\n"               \
	"	ret;\n"                                          \
	"}\n"

static const char ptx_spin[] = PTX_HEAD PTX_SPIN PTX_SHORT("unlaunched", "16");
static const char ptx_other[] = PTX_HEAD PTX_SHORT("other", "16");
static const char ptx_local[] = PTX_HEAD PTX_SHORT("other", "65536");
static const char ptx_less_local[] = PTX_HEAD PTX_SHORT("other", "32768");
static const char ptx_large[] =
	PTX_HEAD ".visible .global .align 8 .b8 large[67108864];\n" PTX_SHORT("other", "16");

#endif
