//! Any text as a manifest: read or refused, with a place inside of the text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use objects::manifest;

fuzz_target!(|text: &str| {
    if let Err(mistake) = manifest::parse(text) {
        assert!(mistake.line >= 1 && mistake.column >= 1, "{mistake}");
        // YAML also ends lines with a lone carriage return.
        let breaks = text.chars().filter(|c| matches!(c, '\n' | '\r')).count();
        assert!(mistake.line <= breaks + 2, "{mistake}");
    }
});
