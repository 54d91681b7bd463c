//! Any bytes as a protobuf request body: read or refused, and what is read is in written form.

#![no_main]

use libfuzzer_sys::fuzz_target;
use objects::{decode, protobuf};

fuzz_target!(|body: &[u8]| {
    let with_magic = [b"k8s\0".as_slice(), body].concat();
    for body in [body, &with_magic] {
        let Ok(object) = protobuf::decode(body) else { continue };
        let (version, kind) = (object["apiVersion"].as_str(), object["kind"].as_str());
        let (Some(version), Some(kind)) = (version, kind) else { panic!("an object without a type: {object}") };
        if let Ok(again) = decode::decode(version, kind, object.to_string().as_bytes()) {
            assert!(again.strict.is_empty(), "{:?}", again.strict);
        }
    }
});
