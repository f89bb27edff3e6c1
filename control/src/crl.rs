//! The file of certificates that were taken back (`CRL_PATH`), and every later version of it.
//!
//! A file that is not there yet is waited for, and one that cannot be read changes nothing: the lists that were read last
//! count, and the complaint comes once for each time the file changes. That a list can't be used shows only when a peer
//! below its issuer comes; it is complained of once, soon after.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::tls::{Revocations, UnusableList};
use tokio::time::timeout;
use tracing::{info, warn};
use x509_parser::prelude::FromDer;
use x509_parser::x509::{RelativeDistinguishedName, X509Name};

use crate::local::Watched;

/// How long the file has to stand still. Longer than other files (contract 1.4): the first lists of a file that is being
/// written are good lists, and would give those in the rest of it back.
const STANDSTILL_SECONDS: u64 = 2;

/// How often the lists are asked whether all of them could be used: a log need not be quicker than a person.
const UNUSABLE_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Crl {
    file: Watched,
    /// The lists that count now.
    lists: Option<Arc<Revocations>>,
    /// Those that were complained of, by their place in the file.
    told: HashSet<usize>,
}

// === impl Crl ===

impl Crl {
    pub(crate) fn new(path: &Path) -> Self {
        let file = Watched::new(path).still_for(Duration::from_secs(STANDSTILL_SECONDS));
        Self { file, lists: None, told: HashSet::new() }
    }

    /// The lists as the file has them at this moment: who was revoked before the start is not let in while the file is
    /// watched for standing still. None if it is not there or wrong; [`Crl::changed`] says why.
    pub(crate) fn at_start(&mut self) -> Option<Arc<Revocations>> {
        let mut first = Watched::new(self.file.path());
        let lists = Revocations::parse(&first.now().ok()?).ok()?;
        self.file = first.still_for(Duration::from_secs(STANDSTILL_SECONDS));
        Some(self.take(lists))
    }

    /// Waits until the file has other lists than were read last, and gives them.
    ///
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn changed(&mut self) -> Arc<Revocations> {
        loop {
            self.complain();
            let Ok(changed) = timeout(UNUSABLE_INTERVAL, self.file.changed_bytes()).await else { continue };
            let file = self.file.path().display().to_string();
            match changed.map(|bytes| Revocations::parse(&bytes)) {
                Ok(Ok(lists)) => {
                    info!(file, lists = lists.len(), "the revocation lists were read");
                    return self.take(lists);
                }
                Ok(Err(error)) => warn!(file, %error, "the revocation lists stay what they were"),
                Err(error) => warn!(%error, "the revocation lists stay what they were"),
            }
        }
    }

    fn take(&mut self, lists: Revocations) -> Arc<Revocations> {
        self.told.clear();
        let lists = Arc::new(lists);
        self.lists = Some(Arc::clone(&lists));
        lists
    }

    fn complain(&mut self) {
        let unusable = self.lists.iter().flat_map(|lists| lists.unusable());
        complain(self.file.path(), unusable, &mut self.told);
    }
}

/// Complains, once, of each list that takes nobody back although it may say so.
fn complain<'l>(file: &Path, unusable: impl Iterator<Item = UnusableList<'l>>, told: &mut HashSet<usize>) {
    for UnusableList { position, issuer, cause } in unusable.filter(|list| told.insert(list.position)) {
        let (file, issuer) = (file.display().to_string(), name(issuer));
        warn!(file, position, issuer, cause, "a revocation list can't be used: it revokes nobody");
    }
}

/// An X.501 Name as people write it.
fn name(mut der: &[u8]) -> String {
    let raw = der;
    let mut parts = Vec::new();
    while let Ok((rest, part)) = RelativeDistinguishedName::from_der(der) {
        parts.push(part);
        der = rest;
    }
    X509Name::new(parts, raw).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::PathBuf;

    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
        IsCa, Issuer, KeyIdMethod, KeyPair, date_time_ymd,
    };
    use tempfile::TempDir;

    use super::*;
    use crate::environment::LogFormat;
    use crate::logging::testing::logged;

    /// A list that takes nothing back, in PEM.
    fn list() -> String {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = Issuer::new(params, KeyPair::generate().unwrap());
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2020, 2, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&issuer).unwrap().pem().unwrap()
    }

    struct File {
        directory: TempDir,
    }

    impl File {
        fn path(&self) -> PathBuf {
            self.directory.path().join("crl.pem")
        }

        fn write(&self, text: &str) {
            std::fs::write(self.path(), text).unwrap();
        }
    }

    /// The lists that come without anybody changing the file any more. Time runs as fast as it can.
    async fn next(crl: &mut Crl) -> Option<usize> {
        timeout(Duration::from_secs(60), crl.changed()).await.ok().map(|lists| lists.len())
    }

    #[tokio::test(start_paused = true)]
    async fn lists_are_read_when_they_come_and_when_they_change() {
        let file = File { directory: TempDir::new().unwrap() };
        let mut crl = Crl::new(&file.path());
        assert!(crl.at_start().is_none());
        assert_eq!(next(&mut crl).await, None, "it is waited for");
        file.write(&list());
        assert_eq!(next(&mut crl).await, Some(1));
        assert_eq!(next(&mut crl).await, None, "nothing has changed");
        file.write(&(list() + &list()));
        assert_eq!(next(&mut crl).await, Some(2));

        let mut late = Crl::new(&file.path());
        assert_eq!(late.at_start().map(|lists| lists.len()), Some(2));
        assert_eq!(next(&mut late).await, None, "it was read at the start");
        file.write(&list());
        assert_eq!(next(&mut late).await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_being_written_is_left_alone() {
        let file = File { directory: TempDir::new().unwrap() };
        file.write(&list());
        let mut crl = Crl::new(&file.path());
        let mut text = list();
        for _ in 0..10 {
            let soon = timeout(Duration::from_millis(1_900), crl.changed()).await;
            assert!(soon.is_err(), "it has just been written to");
            text += &list();
            file.write(&text);
        }
        assert_eq!(next(&mut crl).await, Some(11));
    }

    #[test]
    fn what_is_wrong_changes_nothing_and_is_told_once() {
        let file = File { directory: TempDir::new().unwrap() };
        let lines = logged(LogFormat::Plain, "info", || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().start_paused(true).build().unwrap().block_on(async {
                let mut crl = Crl::new(&file.path());
                assert_eq!(next(&mut crl).await, None);
                file.write("not a list");
                assert!(crl.at_start().is_none());
                assert_eq!(next(&mut crl).await, None);
                assert_eq!(next(&mut crl).await, None);
                file.write(&list());
                assert_eq!(next(&mut crl).await, Some(1));
            });
        });
        assert_eq!(lines.matches("there is no such file").count(), 1, "{lines}");
        assert_eq!(lines.matches("it holds no revocation list").count(), 1, "{lines}");
        assert_eq!(lines.matches("the revocation lists were read").count(), 1, "{lines}");
    }

    #[test]
    fn a_list_that_cannot_be_used_is_complained_of_once_and_its_issuer_is_named() {
        let mut issuer = DistinguishedName::new();
        issuer.push(DnType::OrganizationName, "Shop");
        issuer.push(DnType::CommonName, "intermediate 1");
        let mut params = CertificateParams::default();
        params.distinguished_name = issuer;
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate.der()).unwrap();
        // Without the header of the outer SEQUENCE.
        let issuer = &parsed.issuer().as_raw()[2..];
        let lines = logged(LogFormat::Plain, "info", || {
            let mut told = HashSet::new();
            for positions in [&[2][..], &[2], &[1, 2]] {
                let lists =
                    positions.iter().map(|&position| UnusableList { position, issuer, cause: "no right" });
                complain(Path::new("/crl.pem"), lists, &mut told);
            }
        });
        assert_eq!(lines.matches("a revocation list can't be used").count(), 2, "{lines}");
        for part in ["O=Shop, CN=intermediate 1", "no right", "/crl.pem"] {
            assert!(lines.contains(part), "{lines}");
        }
    }
}
