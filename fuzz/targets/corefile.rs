//! CoreDNS's configuration file: understood, or refused with a place inside of it.

#![no_main]

use dns::corefile::{NoSources, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match read(text, "Corefile", 53, &NoSources) {
        Ok(config) => assert!(config.blocks.iter().all(|block| !block.keys.is_empty())),
        Err(error) => {
            let lines = u32::try_from(text.lines().count()).unwrap_or(u32::MAX);
            assert!((1..=lines.max(1)).contains(&error.position.line), "{error}");
        }
    }
});
