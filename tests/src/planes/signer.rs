//! The certificate authority inside Cilium's agent (contract 2.10): its checks, its refusals, its bare leaves.

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

#[derive(Debug)]
pub(super) struct Signer {
    issuer: Issuer<'static, KeyPair>,
    root: String,
}

/// For whom a certificate is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Applicant {
    pub(super) namespace: String,
    pub(super) service_account: String,
}

impl Signer {
    pub(super) fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "cluster.local");
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign, KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate()?;
        let root = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), root })
    }

    /// Who asks, if the request is one.
    pub(super) fn applicant(request: &CertificateSigningRequestParams) -> Result<Applicant, String> {
        let [SanType::URI(uri)] = &request.params.subject_alt_names[..] else {
            return Err("expected exactly one URI SAN".to_owned());
        };
        let path = uri.as_str().strip_prefix("spiffe://").ok_or("expected a spiffe URI")?;
        match path.split('/').collect::<Vec<_>>()[..] {
            [_, _, namespace, _, account] => {
                Ok(Applicant { namespace: namespace.to_owned(), service_account: account.to_owned() })
            }
            _ => Err(format!("invalid SPIFFE path {path}")),
        }
    }

    /// Leaf and root. The leaf begins now and says nothing of usages.
    pub(super) fn sign(
        &self,
        mut request: CertificateSigningRequestParams,
        lifetime: std::time::Duration,
    ) -> Result<Vec<String>> {
        request.params.not_before = OffsetDateTime::now_utc();
        request.params.not_after = request.params.not_before + Duration::try_from(lifetime)?;
        request.params.use_authority_key_identifier_extension = true;
        Ok(vec![request.signed_by(&self.issuer)?.pem(), self.root.clone()])
    }
}
