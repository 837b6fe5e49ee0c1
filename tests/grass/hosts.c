// SPDX-License-Identifier: Apache-2.0
// How hosts are written.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "grass/control.h"
#include "grass_cli/hosts.h"

static void is(const char *text, const char *name, const char *address, unsigned int port)
{
	struct host_address host;

	assert_null(host_parse(text, &host));
	assert_string_equal(host.name, name);
	assert_string_equal(host.address, address);
	assert_int_equal(host.port, port);
}

static void is_none(const char *text)
{
	struct host_address host;
	struct gs_error *err = host_parse(text, &host);

	assert_non_null(err);
	assert_int_equal(err->code, GS_ERROR_USAGE);
	gs_error_destroy(err);
}

static void names_addresses_and_ports(void **state)
{
	(void)state;
	is("web1", "web1", "web1", GRASS_PORT);
	is("web1:7", "web1", "web1", 7);
	is("web-1.example.org", "web-1.example.org", "web-1.example.org", GRASS_PORT);
	is("web1@10.0.0.1", "web1", "10.0.0.1", GRASS_PORT);
	is("web1@db.example.org:65535", "web1", "db.example.org", 65535);
	is("web1@[::1]", "web1", "::1", GRASS_PORT);
	is("web1@[fe80::1%eth0]:80", "web1", "fe80::1%eth0", 80);
}

static void what_is_no_host(void **state)
{
	static const char *const texts[] = {
		"",	    "@",	  "@a",		 ":1",	      "web1@",	 "web1@:1",
		"web1:",    "web1:0",	  "web1:65536",	 "web1:1x",   "web1:-1", "web1@::1",
		"web1@[::", "web1@[]",	  "web1@[::1]1", "web1@[::1", "a b",	 "a/b",
		"web1@a b", "web1@[a b]", "web1@a@b",	 "\xff",      "a\nb",	 "web1::1",
	};
	char longer[1024];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		is_none(texts[i]);
	memset(longer, 'a', sizeof(longer));
	longer[sizeof(longer) - 1] = 0;
	is_none(longer);
	longer[1] = '@';
	is_none(longer);
}

static struct gs_error *parse(struct hosts *hosts, const char *text)
{
	return hosts_parse(hosts, "list", text, strlen(text));
}

static void a_list_has_one_a_line(void **state)
{
	struct hosts hosts = {};

	(void)state;
	assert_null(parse(&hosts, "# all\r\n\nweb1\r\n \tweb2@10.0.0.2:8 # second\n#web3\nweb1"));
	assert_int_equal(hosts.count, 2);
	assert_int_equal(hosts_find(&hosts, "web2")->port, 8);
	assert_null(hosts_find(&hosts, "web3"));
	hosts_deinit(&hosts);
	assert_null(parse(&hosts, ""));
	assert_int_equal(hosts.count, 0);
}

static void the_line_that_is_wrong_is_named(void **state)
{
	struct hosts hosts = {};
	struct gs_error *err = parse(&hosts, "web1\n\nweb2 web3\n");

	(void)state;
	assert_non_null(err);
	assert_int_equal(err->code, GS_ERROR_USAGE);
	assert_non_null(strstr(err->message, "list:3: 'web2 web3' is no host"));
	gs_error_destroy(err);
	err = parse(&hosts, "a@b\na@c\n");
	assert_non_null(err);
	assert_non_null(strstr(err->message, "list:2: two hosts are called 'a'"));
	gs_error_destroy(err);
	hosts_deinit(&hosts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_addresses_and_ports),
		cmocka_unit_test(what_is_no_host),
		cmocka_unit_test(a_list_has_one_a_line),
		cmocka_unit_test(the_line_that_is_wrong_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
