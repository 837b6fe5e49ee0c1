// SPDX-License-Identifier: Apache-2.0
#include "grass/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "util/cleanup.h"

enum { NAME_MAX_LENGTH = 63, SERIAL_BYTES = 16, DAY = 86400 };

enum role { CA, HOST, MONITOR };

struct pair {
	EVP_PKEY *key;
	X509 *certificate;
};

static void pair_deinit(struct pair *pair)
{
	EVP_PKEY_free(pair->key);
	X509_free(pair->certificate);
}

static struct gs_error *failed(const char *what)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());
	struct gs_error *err =
		gs_error_create(GS_ERROR_OTHER, "%s: %s", what, reason ? reason : "OpenSSL failed");

	ERR_clear_error();
	return err;
}

static bool add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;

	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);

	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	bool done = extension && X509_add_ext(certificate, extension, -1);

	X509_EXTENSION_free(extension);
	return done;
}

static bool set_serial(X509 *certificate)
{
	unsigned char bytes[SERIAL_BYTES];
	bool done = RAND_bytes(bytes, sizeof(bytes)) == 1;

	// RFC 5280, 4.1.2.2: positive.
	bytes[0] &= 0x7f;

	BIGNUM *number = done ? BN_bin2bn(bytes, sizeof(bytes), NULL) : NULL;

	done = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
	BN_free(number);
	return done;
}

static bool set_name(X509 *certificate, const char *name)
{
	X509_NAME *subject = X509_get_subject_name(certificate);

	return X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name,
					  -1, -1, 0);
}

static bool add_extensions(X509 *certificate, X509 *issuer, enum role role, const char *name)
{
	char alternative[NAME_MAX_LENGTH + 8];

	snprintf(alternative, sizeof(alternative), "DNS:%s", name);
	return add_extension(certificate, issuer, NID_basic_constraints,
			     role == CA ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE") &&
	       add_extension(certificate, issuer, NID_key_usage,
			     role == CA ? "critical,keyCertSign,cRLSign"
					: "critical,digitalSignature") &&
	       add_extension(certificate, issuer, NID_subject_key_identifier, "hash") &&
	       (role == CA ||
		add_extension(certificate, issuer, NID_authority_key_identifier, "keyid:always")) &&
	       (role == CA || add_extension(certificate, issuer, NID_ext_key_usage,
					    role == HOST ? "serverAuth" : "clientAuth")) &&
	       (role != HOST ||
		add_extension(certificate, issuer, NID_subject_alt_name, alternative));
}

// @issuer: NULL: it signs itself.
static struct gs_error *make(enum role role, const char *name, const struct pair *issuer,
			     struct pair *ret)
{
	ret->key = EVP_EC_gen("P-256");
	ret->certificate = X509_new();
	if (!ret->key || !ret->certificate)
		return failed("cannot make a key");

	X509 *certificate = ret->certificate, *by = issuer ? issuer->certificate : certificate;
	long days = role == CA ? GRASS_CA_DAYS : GRASS_DAYS;
	// Clocks differ.
	bool done = X509_set_version(certificate, 2) && set_serial(certificate) &&
		    X509_gmtime_adj(X509_getm_notBefore(certificate), -DAY) &&
		    X509_gmtime_adj(X509_getm_notAfter(certificate), days * DAY) &&
		    set_name(certificate, name) &&
		    X509_set_issuer_name(certificate, X509_get_subject_name(by)) &&
		    X509_set_pubkey(certificate, ret->key) &&
		    add_extensions(certificate, by, role, name) &&
		    X509_sign(certificate, issuer ? issuer->key : ret->key, EVP_sha256());

	return done ? NULL : failed("cannot make a certificate");
}

// A whole new file, which nobody sees before it is whole; one that is there stays.
static struct gs_error *write_file(const char *directory, const char *name, const char *suffix,
				   mode_t mode, BIO *contents)
{
	_cleanup_free_ char *path = NULL, *temporary = NULL;
	char *bytes;
	long size = BIO_get_mem_data(contents, &bytes);

	if (asprintf(&path, "%s/%s.%s", directory, name, suffix) < 0)
		return &gs_enomem;
	if (asprintf(&temporary, "%s/.%s.%s.new", directory, name, suffix) < 0)
		return &gs_enomem;
	unlink(temporary);

	_cleanup_close_ int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

	if (fd < 0)
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s", temporary);

	int error = 0;

	if (write(fd, bytes, (size_t)size) != size || fsync(fd))
		error = errno ? errno : EIO;
	// rename() would replace what is there.
	else if (link(temporary, path))
		error = errno;
	unlink(temporary);
	if (error == EEXIST)
		return gs_error_create(GS_ERROR_OTHER,
				       "%s is there already; remove it, or take another name",
				       path);
	return error ? gs_error_errno(GS_ERROR_OTHER, error, "%s", path) : NULL;
}

static struct gs_error *save(const char *directory, const char *name, const struct pair *pair)
{
	BIO *key = BIO_new(BIO_s_mem()), *certificate = BIO_new(BIO_s_mem());
	struct gs_error *err = NULL;

	if (!key || !certificate ||
	    PEM_write_bio_PrivateKey(key, pair->key, NULL, NULL, 0, NULL, NULL) != 1 ||
	    PEM_write_bio_X509(certificate, pair->certificate) != 1)
		err = failed("cannot write a certificate");
	if (!err)
		err = write_file(directory, name, "key", 0600, key);
	if (!err) {
		err = write_file(directory, name, "crt", 0644, certificate);
		if (err) {
			_cleanup_free_ char *path = NULL;

			// A key without its certificate would stand in the way.
			if (asprintf(&path, "%s/%s.key", directory, name) >= 0)
				unlink(path);
		}
	}
	BIO_free(key);
	BIO_free(certificate);
	return err;
}

static struct gs_error *load_ca(const char *directory, struct pair *ret)
{
	_cleanup_free_ char *key_path = NULL, *certificate_path = NULL;

	if (asprintf(&key_path, "%s/ca.key", directory) < 0 ||
	    asprintf(&certificate_path, "%s/ca.crt", directory) < 0)
		return &gs_enomem;

	_cleanup_fclose_ FILE *key = fopen(key_path, "re");

	if (!key)
		return gs_error_errno(GS_ERROR_OTHER, errno,
				      "%s: no authority there (`grass keys %s ca` makes one)",
				      key_path, directory);

	_cleanup_fclose_ FILE *certificate = fopen(certificate_path, "re");

	if (!certificate)
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s", certificate_path);
	ret->key = PEM_read_PrivateKey(key, NULL, NULL, NULL);
	ret->certificate = PEM_read_X509(certificate, NULL, NULL, NULL);
	if (!ret->key || !ret->certificate ||
	    X509_check_private_key(ret->certificate, ret->key) != 1)
		return failed(certificate_path);
	return NULL;
}

static struct gs_error *check_name(const char *name)
{
	size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "0123456789-_.");

	if (!length || name[length] || length > NAME_MAX_LENGTH || name[0] == '.' ||
	    !strcmp(name, "ca"))
		return gs_error_create(GS_ERROR_USAGE,
				       "'%s' is no name for a host or monitor: up to %d letters, "
				       "digits, '-', '_' and '.', but not 'ca'",
				       name, NAME_MAX_LENGTH);
	return NULL;
}

static struct gs_error *make_signed(const char *directory, const char *name, enum role role)
{
	_cleanup_(pair_deinit) struct pair ca = {}, pair = {};
	struct gs_error *err = check_name(name);

	if (!err)
		err = load_ca(directory, &ca);
	if (!err)
		err = make(role, name, &ca, &pair);
	return err ? err : save(directory, name, &pair);
}

struct gs_error *grass_keys_make_ca(const char *directory)
{
	_cleanup_(pair_deinit) struct pair ca = {};

	if (mkdir(directory, 0700) && errno != EEXIST)
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s", directory);

	struct gs_error *err = make(CA, "GPUSentinel authority", NULL, &ca);

	return err ? err : save(directory, "ca", &ca);
}

struct gs_error *grass_keys_make_host(const char *directory, const char *name)
{
	return make_signed(directory, name, HOST);
}

struct gs_error *grass_keys_make_monitor(const char *directory, const char *name)
{
	return make_signed(directory, name, MONITOR);
}

void grass_keys_forget(struct grass_identity *identity)
{
	free((char *)identity->ca);
	free((char *)identity->certificate);
	free((char *)identity->key);
	*identity = (struct grass_identity){};
}

struct gs_error *grass_keys_find(const char *directory, const char *name,
				 struct grass_identity *ret)
{
	char *ca = NULL, *certificate = NULL, *key = NULL;

	// asprintf() leaves what it is given undefined where it fails.
	if (asprintf(&ca, "%s/ca.crt", directory) < 0)
		ca = NULL;
	if (asprintf(&certificate, "%s/%s.crt", directory, name) < 0)
		certificate = NULL;
	if (asprintf(&key, "%s/%s.key", directory, name) < 0)
		key = NULL;
	*ret = (struct grass_identity){ .ca = ca, .certificate = certificate, .key = key };
	if (ca && certificate && key)
		return NULL;
	grass_keys_forget(ret);
	return &gs_enomem;
}
