//! The README's first command.

use testnet::harness::Trial;

use crate::program::{Place, as_both, shown};

pub(crate) fn trials() -> Vec<Trial> {
    as_both("demo", demo)
}

fn demo(place: &Place) {
    let shown = shown(place.sluice(&["demo"]).output());
    assert_eq!(shown.code, Some(0), "{}{}", shown.stdout, shown.stderr);
    assert!(shown.stdout.contains("claims hold"), "{}", shown.stdout);
    assert!(!shown.stdout.contains('\x1b'), "colour in a pipe");
    place.nothing_is_left();
}
