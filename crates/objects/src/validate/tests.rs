//! Names and the like; whole objects are judged in admission's tests, against recorded answers.

use super::names::*;

fn fits(rule: fn(&str) -> Vec<String>, good: &[&str], bad: &[&str]) {
    for text in good {
        assert_eq!(rule(text), [""; 0], "{text}");
    }
    for text in bad {
        assert!(!rule(text).is_empty(), "{text}");
    }
}

#[test]
fn names_of_objects() {
    let long = "x".repeat(64);
    fits(dns_1123_label, &["a", "1", "a-b", "0-0"], &["", "A", "-a", "a-", "a.b", "a_b", "é", &long]);
    fits(dns_1035_label, &["a", "a-1"], &["", "1a", "a.b", &long]);
    let longest = vec!["a".repeat(63); 4].join(".");
    fits(
        dns_1123_subdomain,
        &["a", "a.b", "1.2", &longest[..253]],
        &["", "a..b", ".a", "a.", "A.b", &longest],
    );
    fits(path_segment, &["a", "..."], &[".", "..", "a/b", "a%b"]);
}

#[test]
fn labels_and_keys() {
    let long = "x".repeat(64);
    fits(
        qualified_name,
        &["a", "A.b_c-d", "example.com/a"],
        &["", "/a", "a/", "a/b/c", "-a", "a-", "UP/a", &long],
    );
    fits(label_value, &["", "a", "A.b_c-d"], &["-a", "a b", "a/b", &long]);
    fits(config_key, &["a", "A.b_c-d", ".a"], &["", ".", "..", "..a", "a b", "a/b"]);
    fits(variable_name, &["A", "a b", "a.b-c"], &["", "a=b", "é", "a\n"]);
}

#[test]
fn ports() {
    fits(
        port_name,
        &["a", "http2", "a-b"],
        &["", "1", "-a", "a-", "a--b", "HTTP", "a.b", "x123456789012345"],
    );
    assert!(port_number(1).is_empty() && port_number(65535).is_empty());
    assert_eq!(port_number(0), ["must be between 1 and 65535, inclusive"]);
    assert_eq!(port_number(65536).len(), 1);
}
