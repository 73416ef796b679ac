/* Copyright: connsec.tls contributors
 * GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Asks the Windows API (crypt32) what it makes of a file, for tests under Wine:
 *
 *     crypt32.exe pfx FILE          opens a PFX with the password on standard input
 *     crypt32.exe store NAME FILE   adds a DER certificate to a store of the machine, and lists that store
 *
 * Prints a line a certificate, its thumbprint and whether it has a key; or the error, and ends with 1.
 */
#include <stdio.h>
#include <string.h>
#include <windows.h>
#include <wincrypt.h>

static int refused(const char *what)
{
    printf("error %s %08lx\n", what, (unsigned long)GetLastError());
    return 1;
}

static int read_file(const char *path, CRYPT_DATA_BLOB *blob)
{
    static BYTE content[1 << 20];
    FILE *file = fopen(path, "rb");
    if (!file)
        return 0;
    blob->cbData = (DWORD)fread(content, 1, sizeof content, file);
    blob->pbData = content;
    fclose(file);
    return 1;
}

static void print_store(HCERTSTORE store)
{
    PCCERT_CONTEXT each = NULL;
    while ((each = CertEnumCertificatesInStore(store, each))) {
        BYTE hash[20];
        DWORD size = sizeof hash, needed = 0;
        CertGetCertificateContextProperty(each, CERT_SHA1_HASH_PROP_ID, hash, &size);
        for (DWORD i = 0; i < size; i++)
            printf("%02X", hash[i]);
        BOOL key = CertGetCertificateContextProperty(each, CERT_KEY_PROV_INFO_PROP_ID, NULL, &needed) ||
                   CertGetCertificateContextProperty(each, CERT_KEY_CONTEXT_PROP_ID, NULL, &needed);
        printf(" %s\n", key ? "key" : "no-key");
    }
}

static int open_pfx(const char *path)
{
    char line[256] = "";
    WCHAR password[256];
    CRYPT_DATA_BLOB blob;
    if (!read_file(path, &blob))
        return refused("read");
    if (fgets(line, sizeof line, stdin))
        line[strcspn(line, "\r\n")] = 0;
    MultiByteToWideChar(CP_UTF8, 0, line, -1, password, 256);
    HCERTSTORE store = PFXImportCertStore(&blob, password, CRYPT_EXPORTABLE);
    if (!store)
        return refused("import");
    print_store(store);
    CertCloseStore(store, 0);
    return 0;
}

static int add_to_store(const char *name, const char *path)
{
    WCHAR wide[64];
    CRYPT_DATA_BLOB blob;
    if (!read_file(path, &blob))
        return refused("read");
    MultiByteToWideChar(CP_UTF8, 0, name, -1, wide, 64);
    HCERTSTORE store = CertOpenStore(CERT_STORE_PROV_SYSTEM_W, 0, 0, CERT_SYSTEM_STORE_LOCAL_MACHINE, wide);
    if (!store)
        return refused("open");
    if (!CertAddEncodedCertificateToStore(store, X509_ASN_ENCODING, blob.pbData, blob.cbData,
                                          CERT_STORE_ADD_REPLACE_EXISTING, NULL))
        return refused("add");
    print_store(store);
    CertCloseStore(store, 0);
    return 0;
}

int main(int count, char **words)
{
    if (count == 3 && !strcmp(words[1], "pfx"))
        return open_pfx(words[2]);
    if (count == 4 && !strcmp(words[1], "store"))
        return add_to_store(words[2], words[3]);
    fprintf(stderr, "crypt32.exe pfx FILE, or crypt32.exe store NAME FILE\n");
    return 2;
}
