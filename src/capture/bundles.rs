//! Which files are bundles of roots, by where they are: the decision, without anything that could fail.
//!
//! Such a place may be below another root than this machine's, as in an image, a Nix store or a directory of Homebrew's, so
//! that it is the end of a path that counts.

/// What the last parts of such places are: what is asked first, of every file that is opened.
const NAMES: [&[u8]; 10] = [
    b"ca-certificates.crt",
    b"cacert.pem",
    b"cert.pem",
    b"ca-bundle.crt",
    b"tls-ca-bundle.pem",
    b"ca-bundle.pem",
    b"ca-root-nss.crt",
    b"cacerts.pem",
    b"cacerts.txt",
    b"roots.pem",
];

/// Where bundles of roots are, and the fewest certificates that make a file there such a bundle: one where nothing else has
/// that name, [`MANY`] where a server may have its own certificate, too.
///
/// Those of systems are what Go looks for ([root_linux.go], `root_bsd.go`, `root_solaris.go`), and the directories that
/// distributions and packagers build OpenSSL and `GnuTLS` with. The others come along with libraries.
///
/// [root_linux.go]: https://github.com/golang/go/blob/master/src/crypto/x509/root_linux.go
const PLACES: [(&str, usize); 33] = [
    // Debian, Ubuntu, Arch, Gentoo, Alpine, NixOS.
    ("etc/ssl/certs/ca-certificates.crt", 1),
    ("usr/lib/ssl/certs/ca-certificates.crt", 1),
    ("usr/lib/ssl/cert.pem", MANY),
    ("etc/ca-certificates/extracted/tls-ca-bundle.pem", 1),
    ("etc/ssl/certs/ca-bundle.crt", 1),
    // Fedora, RHEL.
    ("etc/pki/tls/certs/ca-bundle.crt", 1),
    ("etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", 1),
    ("etc/pki/tls/cert.pem", MANY),
    // OpenELEC.
    ("etc/pki/tls/cacert.pem", 1),
    // openSUSE, SLES.
    ("etc/ssl/ca-bundle.pem", 1),
    ("var/lib/ca-certificates/ca-bundle.pem", 1),
    // Alpine, the BSDs, illumos.
    ("etc/ssl/cert.pem", MANY),
    ("etc/ssl/cacert.pem", 1),
    ("etc/certs/ca-certificates.crt", 1),
    ("share/certs/ca-root-nss.crt", 1),
    // What is built by itself, by Homebrew, by Conda.
    ("usr/local/ssl/cert.pem", MANY),
    ("etc/openssl/cert.pem", MANY),
    ("etc/openssl@3/cert.pem", MANY),
    ("etc/openssl@1.1/cert.pem", MANY),
    ("etc/ca-certificates/cert.pem", MANY),
    ("ssl/cert.pem", MANY),
    ("ssl/cacert.pem", MANY),
    // Python.
    ("certifi/cacert.pem", 1),
    ("botocore/cacert.pem", 1),
    ("requests/cacert.pem", 1),
    ("httplib2/cacerts.txt", 1),
    ("boto/cacerts/cacerts.txt", 1),
    // gRPC.
    ("grpc/_cython/_credentials/roots.pem", 1),
    ("share/grpc/roots.pem", 1),
    // Perl, PHP.
    ("Mozilla/CA/cacert.pem", 1),
    ("ca-bundle/res/cacert.pem", 1),
    // Erlang and Elixir.
    ("certifi/priv/cacerts.pem", 1),
    ("castore/priv/cacerts.pem", 1),
];

/// More certificates than the chain of any server has, and fewer than any collection of roots.
const MANY: usize = 16;

/// Whether a path may be one of a bundle of roots, so that it is worth while to look.
pub(super) fn may_be(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    NAMES.contains(&name)
}

/// The fewest certificates that make the file at this path a bundle of roots; none if it is not in such a place.
pub(super) fn fewest(path: &[u8]) -> Option<usize> {
    let places = PLACES.iter().filter(|(place, _)| {
        let before = path.strip_suffix(place.as_bytes());
        before.is_some_and(|before| before.is_empty() || before.ends_with(b"/"))
    });
    places.map(|(_, fewest)| *fewest).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_passes_the_first_look() {
        for (place, _) in PLACES {
            assert!(may_be(place.as_bytes()), "{place}");
            assert!(may_be(format!("/{place}").as_bytes()), "{place}");
        }
        for name in NAMES {
            let ends = |(place, _): &(&str, usize)| place.as_bytes().ends_with(name);
            assert!(PLACES.iter().any(ends), "{}", String::from_utf8_lossy(name));
        }
    }

    #[test]
    fn most_files_do_not() {
        for path in [
            "",
            "/",
            "x",
            "/etc/passwd",
            "/etc/ssl/certs/",
            "/etc/ssl/certs/my-ca-certificates.crt",
            "/cert.pem/x",
        ] {
            assert!(!may_be(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn a_place_counts_below_any_root_and_by_whole_names() {
        for (path, expected) in [
            ("/etc/ssl/certs/ca-certificates.crt", Some(1)),
            ("/image/etc/ssl/certs/ca-certificates.crt", Some(1)),
            ("/usr/lib/python3/dist-packages/certifi/cacert.pem", Some(1)),
            ("certifi/cacert.pem", Some(1)),
            ("/etc/ssl/cacert.pem", Some(1)),
            ("/opt/conda/ssl/cacert.pem", Some(MANY)),
            ("/etc/ssl/cert.pem", Some(MANY)),
            ("/etc/nginx/ssl/cert.pem", Some(MANY)),
            ("/notcertifi/cacert.pem", None),
            ("/etc/nginx/cert.pem", None),
            ("cacert.pem", None),
            ("/tmp/amb-trust-1-abcdefghijkl/roots.pem", None),
        ] {
            assert_eq!(fewest(path.as_bytes()), expected, "{path}");
        }
    }
}
