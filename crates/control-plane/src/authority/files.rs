//! The authority in the data directory: `ca.crt` and `ca.key`, written once, the key readable by its owner only.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::Error;

const CERTIFICATE: &str = "ca.crt";
const KEY: &str = "ca.key";

/// The certificate's PEM and the key, or None if there are none yet.
///
/// # Errors
/// Also for a certificate whose key is lost: a new authority would be one that no client of this cluster trusts.
pub(super) fn load(data_dir: &Path) -> Result<Option<(String, KeyPair)>, Error> {
    let (cert_path, key_path) = (data_dir.join(CERTIFICATE), data_dir.join(KEY));
    let Some(cert_pem) = read(&cert_path)? else {
        return Ok(None);
    };
    let key_pem = read(&key_path)?.ok_or_else(|| damaged(&key_path, "it is missing beside ca.crt"))?;
    let key =
        KeyPair::from_pem(&key_pem).map_err(|_| damaged(&key_path, "it is not a private key in PEM"))?;
    let cert = CertificateDer::from_pem_slice(cert_pem.as_bytes())
        .map_err(|_| damaged(&cert_path, "it is not a certificate in PEM"))?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&cert)
        .map_err(|_| damaged(&cert_path, "it is not a certificate"))?;
    if parsed.public_key().subject_public_key.data.as_ref() != key.der_bytes() {
        return Err(damaged(&cert_path, "it does not belong to ca.key"));
    }
    Ok(Some((cert_pem, key)))
}

/// Writes the key first: a crash in between leaves a key without a certificate, which [`load`] takes for none.
pub(super) fn save(data_dir: &Path, cert_pem: &str, key_pem: &str) -> Result<(), Error> {
    write(&data_dir.join(KEY), key_pem, 0o600)?;
    write(&data_dir.join(CERTIFICATE), cert_pem, 0o644)
}

fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(damaged(path, "it is not text")),
        Err(source) => Err(Error::DataDir { path: path.to_owned(), source }),
    }
}

/// Writes beside the file and renames, so that a full disk leaves no half of it.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let fresh: PathBuf = path.with_extension("new");
    let outcome = (|| {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    })();
    outcome.map_err(|source| Error::DataDir { path: path.to_owned(), source })
}

fn damaged(path: &Path, what: &str) -> Error {
    Error::Damaged { path: path.to_owned(), what: what.to_owned() }
}
