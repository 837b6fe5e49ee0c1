// SPDX-License-Identifier: Apache-2.0
#include "grass/openmetrics.h"

#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

static const char *const type_names[] = {
	[OM_GAUGE] = "gauge",
	[OM_COUNTER] = "counter",
	[OM_INFO] = "info",
	[OM_STATESET] = "stateset",
};

static const char *const suffixes[] = {
	[OM_GAUGE] = "",
	[OM_COUNTER] = "_total",
	[OM_INFO] = "_info",
	[OM_STATESET] = "",
};

// Bytes of the UTF-8 character at @text; 0: it is none. RFC 3629, section 4.
static size_t utf8_size(const unsigned char *text)
{
	size_t size = *text < 0x80 ? 1 : *text < 0xc2 ? 0 : *text < 0xe0 ? 2 : *text < 0xf0 ? 3 : 4;

	if (*text > 0xf4)
		return 0;
	for (size_t i = 1; i < size; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((*text == 0xe0 && text[1] < 0xa0) || (*text == 0xed && text[1] > 0x9f) ||
	    (*text == 0xf0 && text[1] < 0x90) || (*text == 0xf4 && text[1] > 0x8f))
		return 0;
	return size;
}

static void put_escaped(FILE *out, const char *text, bool quotes)
{
	while (*text) {
		size_t size = utf8_size((const unsigned char *)text);

		if (!size) {
			fputs("\xef\xbf\xbd", out);
			size = 1;
		} else if (*text == '\n') {
			fputs("\\n", out);
		} else if ((quotes && *text == '"') || *text == '\\') {
			fprintf(out, "\\%c", *text);
		} else {
			fwrite(text, 1, size, out);
		}
		text += size;
	}
}

void om_name(const char *text, char *buf, size_t len)
{
	size_t used = 0;

	if (!len)
		return;
	if (isdigit((unsigned char)*text) && used + 1 < len)
		buf[used++] = '_';
	for (; *text && used + 1 < len; text++)
		buf[used++] =
			isalnum((unsigned char)*text) && (unsigned char)*text < 0x80 ? *text : '_';
	buf[used] = '\0';
}

static void put_value(struct om *om, double value)
{
	if (isnan(value))
		fputs(" NaN\n", om->out);
	else if (isinf(value))
		fputs(value < 0 ? " -Inf\n" : " +Inf\n", om->out);
	else if (value == floor(value) && fabs(value) < 9007199254740992.0)
		fprintf(om->out, " %.0f\n", value);
	else
		// Times since the epoch keep their microseconds.
		fprintf(om->out, " %.16g\n", value);
}

void om_family(struct om *om, const char *name, enum om_type type, const char *help)
{
	const char *suffix = om->plain ? suffixes[type] : "";

	om_name(name, om->name, sizeof(om->name));
	om->type = type;
	fprintf(om->out, "# TYPE %s%s %s\n# HELP %s%s ", om->name, suffix,
		type_names[om->plain && type != OM_COUNTER ? OM_GAUGE : type], om->name, suffix);
	put_escaped(om->out, help, !om->plain);
	fputc('\n', om->out);
}

// "__" is Prometheus' own.
static void label_name(const char *text, char *buf, size_t len)
{
	om_name(text, buf, len);
	if (!*buf || (buf[0] == '_' && buf[1] == '_'))
		snprintf(buf, len, "label%s", text[strspn(text, "_")] ? "_" : "");
	else
		return;
	om_name(text + strspn(text, "_"), buf + strlen(buf), len - strlen(buf));
}

void om_labels(FILE *out, const struct om_label *labels, size_t count)
{
	char names[OM_LABELS][64];
	size_t used = 0;

	for (size_t i = 0; i < count && used < OM_LABELS; i++) {
		bool taken = false;

		label_name(labels[i].name, names[used], sizeof(names[used]));
		for (size_t j = 0; j < used; j++)
			taken = taken || !strcmp(names[j], names[used]);
		if (taken)
			continue;
		fprintf(out, "%c%s=\"", used ? ',' : '{', names[used]);
		put_escaped(out, labels[i].value, true);
		fputc('"', out);
		used++;
	}
	if (used)
		fputc('}', out);
}

void om_sample(struct om *om, const struct om_label *labels, size_t count, double value)
{
	fprintf(om->out, "%s%s", om->name, suffixes[om->type]);
	om_labels(om->out, labels, count);
	put_value(om, value);
}

void om_sample_text(struct om *om, const char *labels, double value)
{
	fprintf(om->out, "%s%s%s", om->name, suffixes[om->type], labels);
	put_value(om, value);
}

void om_end(struct om *om)
{
	if (!om->plain)
		fputs("# EOF\n", om->out);
}
