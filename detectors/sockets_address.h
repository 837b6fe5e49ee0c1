/* SPDX-License-Identifier: Apache-2.0 */
// Addresses of IP as text.
#ifndef DETECTORS_SOCKETS_ADDRESS_H
#define DETECTORS_SOCKETS_ADDRESS_H

#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

// "[ffff:...:ffff]:65535", the longest.
#define ADDRESS_LEN 48U

struct address {
	unsigned int len;
	char text[ADDRESS_LEN];
};

static inline u16 ntohs(u16 x)
{
	return (u16)(x << 8 | x >> 8);
}

static inline void address_add(struct address *a, char c)
{
	if (a->len < ADDRESS_LEN - 1)
		a->text[a->len++] = c;
}

static inline void address_number(struct address *a, u32 number, u32 base)
{
	char digits[8];
	unsigned int len = 0;

	do {
		u32 digit = number % base;

		digits[len++] = (char)(digit < 10 ? '0' + digit : 'a' + digit - 10);
		number /= base;
	} while (number && len < sizeof(digits));
	while (len)
		address_add(a, digits[--len]);
}

static inline void address_end(struct address *a, u16 port)
{
	address_add(a, ':');
	address_number(a, port, 10);
	a->text[a->len] = 0;
}

// @addr is in network order.
static inline void address_dotted(struct address *a, u32 addr)
{
	for (unsigned int i = 0; i < 4; i++) {
		if (i)
			address_add(a, '.');
		address_number(a, (addr >> (8 * i)) & 0xff, 10);
	}
}

static inline void address_v4(struct address *a, u32 addr, u16 port)
{
	a->len = 0;
	address_dotted(a, addr);
	address_end(a, port);
}

// As RFC 5952 wants it: the longest run of two or more zeros, and of equal ones the first, is left out.
static inline void address_v6(struct address *a, const u32 *words, u16 port)
{
	u32 addr[4];
	u16 groups[8];
	unsigned int zeros = 8, length = 1;

	__builtin_memcpy(addr, words, sizeof(addr));
	for (unsigned int i = 0; i < 8; i++)
		groups[i] = ntohs((u16)(addr[i / 2] >> (16 * (i % 2))));
	for (unsigned int i = 0; i < 8; i++) {
		unsigned int run = 0;

		while (i + run < 8 && !groups[i + run])
			run++;
		if (run > length) {
			zeros = i;
			length = run;
		}
	}
	// ::ffff:192.0.2.1, an address of IPv4.
	bool mapped = !zeros && length == 5 && groups[5] == 0xffff;

	a->len = 0;
	address_add(a, '[');
	for (unsigned int i = 0; i < 8; i++) {
		if (mapped && i == 6) {
			address_add(a, ':');
			address_dotted(a, addr[3]);
			break;
		}
		if (i == zeros) {
			address_add(a, ':');
			address_add(a, ':');
			i += length - 1;
			continue;
		}
		if (i && a->text[a->len - 1] != ':')
			address_add(a, ':');
		address_number(a, groups[i], 16);
	}
	address_add(a, ']');
	address_end(a, port);
}

#endif
