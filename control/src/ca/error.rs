//! What goes wrong with the embedded CA. All of it is for the operator to put right, so each names the file and the cure.

use std::io;
use std::path::PathBuf;

use engine::mesh::Identity;
use engine::tls::Utc;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum CaError {
    #[error(
        "the CA directory {} can't be used ({cause}): RINGWAY_CA_DIR must name a directory that exists and that ringway \
         may read", path.display()
    )]
    Directory { path: PathBuf, cause: io::Error },
    #[error("{} can't be read ({cause}): ringway must be allowed to read it", path.display())]
    Read { path: PathBuf, cause: io::Error },
    #[error(
        "there is no root in the CA directory, and none can be made: {} can't be written ({cause}); let ringway write \
         there, or put root-cert.pem and root-key.pem there yourself", path.display()
    )]
    Write { path: PathBuf, cause: io::Error },
    #[error("no root can be made ({0}): report this")]
    NewRoot(rcgen::Error),
    #[error(
        "{} is there but {} is not: put the missing one back, or remove the other to get a new root (all certificates \
         issued so far lose their root then)", present.display(), missing.display()
    )]
    Half { present: PathBuf, missing: PathBuf },
    #[error("{} holds no usable root certificate ({cause}): a PEM file is needed, the issuing root first", path.display())]
    Certificate { path: PathBuf, cause: String },
    #[error("{} holds no usable private key ({cause}): PEM is needed, not encrypted, RSA or EC", path.display())]
    Key { path: PathBuf, cause: String },
    #[error(
        "the key in {} does not belong to the first certificate in {}: put the right one of the two there", key.display(),
        certificate.display()
    )]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error(
        "the first certificate in {} is no CA: it needs basicConstraints CA:TRUE and, if it has keyUsage, keyCertSign",
        path.display()
    )]
    NotAnAuthority { path: PathBuf },
    #[error(
        "the root in {} is expired: it was valid until {not_after}, our clock says {now}; replace it and root-key.pem, or \
         set the clock right", path.display()
    )]
    Expired { path: PathBuf, now: Utc, not_after: Utc },
    #[error(
        "no certificate can be issued for {identity} ({cause}): see whether the root restricts what it may issue"
    )]
    Issue { identity: Identity, cause: String },
}
