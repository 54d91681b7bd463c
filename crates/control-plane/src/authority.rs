//! The cluster's certificate authority: every certificate that a part of the cluster shows to another is issued here.
//!
//! Made at the first start and kept in the data directory (key readable by the owner only), so that kubeconfigs stay
//! valid across restarts. Issued certificates are never kept and never revoked: who has one is in, until the authority is
//! removed with the data directory. Keys are P-256, which every client of Kubernetes speaks.

mod files;

use std::net::IpAddr;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

use crate::Error;

/// Common name of the certificate with which the API dials nodes; they accept no other.
pub const API_CLIENT_NAME: &str = "kube-apiserver-kubelet-client";
/// Group of administrators.
pub const MASTERS: &str = "system:masters";
/// Group of nodes.
pub const NODES: &str = "system:nodes";

const COMMON_NAME: &str = "sluice-ca";
/// Clocks of the machines of a cluster may differ by this much.
const BACKDATED: Duration = Duration::hours(1);
const VALID: Duration = Duration::days(3650);

/// A certificate and its private key.
#[derive(Clone)]
pub struct Identity {
    /// The certificate, PEM.
    pub cert_pem: String,
    /// The private key, PEM (PKCS #8).
    pub key_pem: String,
}

/// The cluster's certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    cert_pem: String,
}

impl Authority {
    /// A new authority that lives as long as the process.
    ///
    /// # Errors
    /// If no key can be made.
    pub fn generate() -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(certificate(COMMON_NAME))?;
        let cert_pem = ca_params().self_signed(&key).map_err(certificate(COMMON_NAME))?.pem();
        Ok(Self { issuer: Issuer::new(ca_params(), key), cert_pem })
    }

    /// The authority that is kept in `data_dir`, made there if there is none.
    ///
    /// # Errors
    /// If the files cannot be read or written, or do not belong together.
    pub fn load_or_create(data_dir: &Path) -> Result<Self, Error> {
        if let Some((cert_pem, key)) = files::load(data_dir)? {
            return Ok(Self { issuer: Issuer::new(ca_params(), key), cert_pem });
        }
        let authority = Self::generate()?;
        files::save(data_dir, &authority.cert_pem, &authority.issuer.key().serialize_pem())?;
        Ok(authority)
    }

    /// The authority's own certificate, PEM: what clients trust.
    pub fn ca_pem(&self) -> &str {
        &self.cert_pem
    }

    /// A certificate for a client: a user or node `common_name` that belongs to the groups `organizations`.
    ///
    /// # Errors
    /// If no key can be made.
    pub fn issue_client(&self, common_name: &str, organizations: &[&str]) -> Result<Identity, Error> {
        let mut params = leaf_params(common_name, ExtendedKeyUsagePurpose::ClientAuth);
        for organization in organizations {
            params.distinguished_name.push(DnType::OrganizationName, *organization);
        }
        self.issue(params, common_name)
    }

    /// A certificate for a server that is reached by any of `names` and `addresses`.
    ///
    /// # Errors
    /// If no key can be made, or a name is not a DNS name.
    pub fn issue_server(&self, names: &[&str], addresses: &[IpAddr]) -> Result<Identity, Error> {
        let common_name = names.first().copied().unwrap_or("server");
        let mut params = leaf_params(common_name, ExtendedKeyUsagePurpose::ServerAuth);
        for name in names {
            let name = (*name).try_into().map_err(certificate(name))?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
        self.issue(params, common_name)
    }

    fn issue(&self, params: CertificateParams, name: &str) -> Result<Identity, Error> {
        let key = KeyPair::generate().map_err(certificate(name))?;
        let cert = params.signed_by(&key, &self.issuer).map_err(certificate(name))?;
        Ok(Identity { cert_pem: cert.pem(), key_pem: key.serialize_pem() })
    }
}

fn certificate(name: &str) -> impl FnOnce(rcgen::Error) -> Error {
    let name = name.to_owned();
    move |source| Error::Certificate { name, source }
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = OffsetDateTime::now_utc();
    params.not_before = now - BACKDATED;
    params.not_after = now + VALID;
    params
}

fn ca_params() -> CertificateParams {
    let mut params = params(COMMON_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}

fn leaf_params(common_name: &str, usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = params(common_name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params
}
