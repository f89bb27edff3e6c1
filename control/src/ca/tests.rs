#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;
use std::thread;

use engine::tls::{Handshake, Progress, Suite};
use rcgen::{SignatureAlgorithm, date_time_ymd};
use tempfile::TempDir;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn cart() -> Identity {
    Identity::new(&TrustDomain::new("cluster.local"), "shop", "cart")
}

/// Puts a root of one's own into a directory.
fn put_root(
    directory: &Path,
    algorithm: &'static SignatureAlgorithm,
    change: impl FnOnce(&mut CertificateParams),
) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    fs::write(directory.join(CERTIFICATE_FILE), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(directory.join(KEY_FILE), key.serialize_pem()).unwrap();
}

/// The error of opening `directory`, which must have all of `words`.
fn refused(directory: &Path, words: &[&str]) -> CaError {
    let error = Authority::open(directory).unwrap_err();
    for word in words {
        assert!(error.to_string().contains(word), "`{word}` is missing in: {error}");
    }
    error
}

/// A handshake between two workloads; gives back whom the client saw, and what they encrypt with.
fn connect_by(client: &Credentials, server: &Credentials) -> (Identity, Suite) {
    let mut client = Handshake::client(client).unwrap();
    let mut server = Handshake::server(server).unwrap();
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    client.advance(&[], &mut to_server).unwrap();
    server.advance(&to_server, &mut to_client).unwrap();
    to_server.clear();
    let Progress::Done(established) = client.advance(&to_client, &mut to_server).unwrap() else {
        panic!("the client has all it needs")
    };
    assert!(matches!(server.advance(&to_server, &mut to_client).unwrap(), Progress::Done(_)));
    (established.peer, established.suite)
}

fn connect(client: &Credentials, server: &Credentials) -> Identity {
    connect_by(client, server).0
}

#[test]
fn tunnels_are_encrypted_with_the_suite_that_is_set() {
    let directory = directory();
    let authority = Authority::open(directory.path()).unwrap();
    for (preferred, second) in [(Suite::Aes128Gcm, Suite::Aes256Gcm), (Suite::Aes256Gcm, Suite::Aes128Gcm)] {
        let suites = Suites { preferred, second: Some(second) };
        let issued = authority.issue(&cart(), DAY, suites).unwrap();
        assert_eq!(connect_by(&issued, &issued), (cart(), preferred));
    }
}

#[test]
fn an_empty_directory_gets_a_root_that_stays() {
    let directory = directory();
    let first = Authority::open(directory.path()).unwrap();
    let again = Authority::open(directory.path()).unwrap();
    assert_eq!(first.roots, again.roots);
    let mode = |name| fs::metadata(directory.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(KEY_FILE), 0o600);
    assert_eq!(mode(CERTIFICATE_FILE), 0o644);
    let mut names: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [".root-lock", CERTIFICATE_FILE, KEY_FILE]);

    let one = first.issue(&cart(), DAY, Suites::default()).unwrap();
    let other =
        again.issue(&Identity::new(&cart().trust_domain, "shop", "till"), DAY, Suites::default()).unwrap();
    assert_eq!(connect(&one, &other).to_string(), "spiffe://cluster.local/ns/shop/sa/till");
    assert_eq!(connect(&other, &one), cart());
}

#[test]
fn nodes_that_start_together_end_with_the_same_root() {
    const NODES: usize = 8;
    for _ in 0..10 {
        let directory = directory();
        let start = Barrier::new(NODES);
        let roots: Vec<_> = thread::scope(|scope| {
            let node = || {
                start.wait();
                Authority::open(directory.path()).unwrap().roots
            };
            let nodes: Vec<_> = (0..NODES).map(|_| scope.spawn(node)).collect();
            nodes.into_iter().map(|node| node.join().unwrap()).collect()
        });
        assert!(roots.iter().all(|root| *root == roots[0]));
    }
}

#[test]
fn what_a_crash_left_behind_is_no_obstacle() {
    let directory = directory();
    fs::write(directory.path().join(".root-key.pem.new"), "half a k").unwrap();
    fs::set_permissions(directory.path().join(".root-key.pem.new"), Permissions::from_mode(0o644)).unwrap();
    Authority::open(directory.path()).unwrap();
    let key = fs::metadata(directory.path().join(KEY_FILE)).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_leaf_says_what_it_should() {
    let directory = directory();
    let authority = Authority::open(directory.path()).unwrap();
    let before = SystemTime::now();
    let credentials = authority.issue(&cart(), DAY, Suites::default()).unwrap();
    assert_eq!(credentials.identity, cart());
    assert_eq!(credentials.chain().len(), 1, "the root is the peer's to know");
    assert_eq!(credentials.bundle().roots(&cart().trust_domain), authority.roots);
    let set_back = Duration::from_secs(SET_BACK_SECS);
    let whole_second = Duration::from_secs(1);
    assert!(credentials.not_before <= SystemTime::now() - set_back);
    assert!(credentials.not_before >= before - set_back - whole_second);
    assert!(credentials.not_after >= before + DAY - whole_second);
    assert!(credentials.not_after <= SystemTime::now() + DAY);

    let leaf = &credentials.chain()[0];
    let another = authority.issue(&cart(), DAY, Suites::default()).unwrap();
    assert_ne!(another.chain()[0], *leaf, "another key and serial number");
    assert!(!CertificateFacts::read(leaf).unwrap().is_authority);
    // DER: extKeyUsage of serverAuth and clientAuth; a critical subjectAltName, since the subject is empty.
    let usages = b"\x55\x1d\x25\x04\x16\x30\x14\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02";
    assert!(holds(leaf, usages));
    assert!(holds(leaf, b"\x55\x1d\x11\x01\x01\xff"));
}

#[test]
fn a_leaf_does_not_outlive_its_root() {
    let directory = directory();
    put_root(directory.path(), &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
        params.not_after = date_time_ymd(2090, 1, 1);
    });
    let authority = Authority::open(directory.path()).unwrap();
    let root_end = SystemTime::from(authority.facts.not_after);
    for lifetime in [100 * 365 * DAY, Duration::MAX] {
        assert_eq!(authority.issue(&cart(), lifetime, Suites::default()).unwrap().not_after, root_end);
    }
}

#[test]
fn a_given_root_is_used_whatever_its_key() {
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_RSA_SHA256,
        &rcgen::PKCS_ED25519,
    ] {
        let directory = directory();
        put_root(directory.path(), algorithm, |_| {});
        let before = fs::read(directory.path().join(CERTIFICATE_FILE)).unwrap();
        let authority = Authority::open(directory.path()).unwrap();
        let credentials = authority.issue(&cart(), DAY, Suites::default()).unwrap();
        assert_eq!(connect(&credentials, &credentials), cart());
        assert_eq!(fs::read(directory.path().join(CERTIFICATE_FILE)).unwrap(), before);
        assert!(!directory.path().join(".root-lock").exists(), "a given root is read without a lock");
    }
}

/// First the new root is trusted everywhere, then it issues.
#[test]
fn a_root_can_be_replaced_without_a_break() {
    let (old, new) = (directory(), directory());
    Authority::open(old.path()).unwrap();
    Authority::open(new.path()).unwrap();
    let path = |directory: &TempDir| directory.path().join(CERTIFICATE_FILE);
    let (old_root, new_root) =
        (fs::read_to_string(path(&old)).unwrap(), fs::read_to_string(path(&new)).unwrap());
    fs::write(path(&old), format!("{old_root}{new_root}")).unwrap();
    fs::write(path(&new), format!("{new_root}{old_root}")).unwrap();
    let before = Authority::open(old.path()).unwrap().issue(&cart(), DAY, Suites::default()).unwrap();
    let after = Authority::open(new.path()).unwrap().issue(&cart(), DAY, Suites::default()).unwrap();
    assert_eq!(connect(&before, &after), cart());
    assert_eq!(connect(&after, &before), cart());
}

#[test]
fn a_directory_that_can_not_be_used_is_named() {
    let directory = directory();
    let missing = directory.path().join("missing");
    let error = refused(&missing, &["missing", "No such file", "RINGWAY_CA_DIR"]);
    assert!(matches!(error, CaError::Directory { .. }));
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(refused(&file, &["file", "Not a directory"]), CaError::Directory { .. }));
    let odd = directory.path().join("odd");
    fs::create_dir_all(odd.join(KEY_FILE)).unwrap();
    assert!(matches!(refused(&odd, &["odd/root-key.pem", "can't be read"]), CaError::Read { .. }));
}

#[test]
fn half_a_pair_is_refused_and_left_alone() {
    for (present, missing) in [(CERTIFICATE_FILE, KEY_FILE), (KEY_FILE, CERTIFICATE_FILE)] {
        let directory = directory();
        put_root(directory.path(), &rcgen::PKCS_ECDSA_P256_SHA256, |_| {});
        fs::remove_file(directory.path().join(missing)).unwrap();
        let (there, not) = (format!("{present} is there"), format!("{missing} is not"));
        let error = refused(directory.path(), &[&there, &not, "put the missing one back"]);
        assert!(matches!(error, CaError::Half { .. }));
        assert!(directory.path().join(present).exists() && !directory.path().join(missing).exists());
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    for (one, other) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P256_SHA256),
        (&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384),
    ] {
        let directory = directory();
        put_root(directory.path(), one, |_| {});
        fs::write(directory.path().join(KEY_FILE), KeyPair::generate_for(other).unwrap().serialize_pem())
            .unwrap();
        let error = refused(directory.path(), &["root-key.pem does not belong", "root-cert.pem"]);
        assert!(matches!(error, CaError::Mismatch { .. }));
    }
}

#[test]
fn a_root_that_may_not_issue_is_refused() {
    let no_authority: [fn(&mut CertificateParams); 3] = [
        |params| params.is_ca = IsCa::NoCa,
        |params| params.is_ca = IsCa::ExplicitNoCa,
        |params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature],
    ];
    for change in no_authority {
        let directory = directory();
        put_root(directory.path(), &rcgen::PKCS_ECDSA_P256_SHA256, change);
        let error = refused(directory.path(), &["root-cert.pem is no CA", "CA:TRUE"]);
        assert!(matches!(error, CaError::NotAnAuthority { .. }));
    }
}

#[test]
fn an_expired_root_is_refused_with_both_clocks() {
    let directory = directory();
    put_root(directory.path(), &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
        params.not_after = date_time_ymd(2024, 5, 6);
    });
    let words = ["root-cert.pem is expired", "until 2024-05-06 00:00:00 UTC", "our clock says 20"];
    assert!(matches!(refused(directory.path(), &words), CaError::Expired { .. }));
}

#[test]
fn files_that_are_no_pem_are_named() {
    for (name, content, words) in [
        (CERTIFICATE_FILE, "", ["root-cert.pem holds no usable root", "no certificate"]),
        (CERTIFICATE_FILE, "hello", ["root-cert.pem holds no usable root", "no certificate"]),
        (
            CERTIFICATE_FILE,
            "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n",
            ["root-cert.pem holds no usable root", "can't be read"],
        ),
        (KEY_FILE, "", ["root-key.pem holds no usable private key", "PEM"]),
        (
            KEY_FILE,
            "-----BEGIN PRIVATE KEY-----\nAQID\n-----END PRIVATE KEY-----\n",
            ["root-key.pem holds no usable private key", "RSA or EC"],
        ),
    ] {
        let directory = directory();
        put_root(directory.path(), &rcgen::PKCS_ECDSA_P256_SHA256, |_| {});
        fs::write(directory.path().join(name), content).unwrap();
        refused(directory.path(), &words);
    }
}

#[test]
fn an_identity_that_fits_no_certificate_is_named() {
    let directory = directory();
    let authority = Authority::open(directory.path()).unwrap();
    let identity = Identity::new(&TrustDomain::new("cluster.local"), "shöp", "cart");
    let error = authority.issue(&identity, DAY, Suites::default()).unwrap_err();
    assert!(error.to_string().contains("shöp"), "{error}");
}

#[test]
fn the_key_is_never_printed() {
    let directory = directory();
    let authority = Authority::open(directory.path()).unwrap();
    let pem = fs::read_to_string(directory.path().join(KEY_FILE)).unwrap();
    let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
    let printed = format!("{authority:?}");
    let some_bytes = format!("{:?}", &der.secret_der()[40..48]).replace(['[', ']'], "");
    assert!(!printed.contains(&some_bytes));
}
