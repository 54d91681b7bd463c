//! Any bytes as the JSON of an object: read, completed and judged, or refused. What is read reads the same again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use objects::resource::RESOURCES;
use objects::{decode, defaults, validate};

fuzz_target!(|input: &[u8]| {
    let Some((choice, body)) = input.split_first() else { return };
    let resource = &RESOURCES[usize::from(*choice) % RESOURCES.len()];
    let version = resource.api_version();
    let Ok(read) = decode::decode(&version, resource.kind, body) else { return };
    let mut object = read.object;
    let again = decode::decode(&version, resource.kind, object.to_string().as_bytes());
    assert_eq!(again.map(|again| again.object).ok().as_ref(), Some(&object));
    defaults::apply(resource.group, resource.kind, &mut object);
    let once = object.clone();
    defaults::apply(resource.group, resource.kind, &mut object);
    assert_eq!(once, object, "defaults are idempotent");
    let _ = validate::create(resource, &object);
    let _ = validate::update(resource, &once, &object);
});
