//! The order of keys in printed YAML and JSON.
//!
//! JSON sorts by bytes. YAML sorts as go-yaml v2 does: digits by value (`a2` before `a10`), everything that is no letter
//! before letters.

use std::cmp::Ordering;

use serde_json::{Map, Value};

/// The value with all keys sorted by bytes, as Go prints maps.
pub(crate) fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            let pairs = keys.into_iter().map(|key| (key.clone(), sorted(&map[key])));
            Value::Object(pairs.collect::<Map<String, Value>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// Sorts keys in go-yaml's order.
///
/// That order has cycles where leading zeros meet letters (`k10 < k1a < k001 < k10`), which the standard library's sort
/// may answer with a panic; insertion, which Go uses for short lists, does not.
pub(crate) fn sort_naturally(keys: &mut [&String]) {
    for from in 1..keys.len() {
        let mut at = from;
        while at > 0 && natural(keys[at], keys[at - 1]).is_lt() {
            keys.swap(at, at - 1);
            at -= 1;
        }
    }
}

/// go-yaml's order of two keys.
pub(crate) fn natural(left: &str, right: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let Some(at) = a.iter().zip(&b).position(|(x, y)| x != y) else {
        return a.len().cmp(&b.len());
    };
    match (a[at].is_alphabetic(), b[at].is_alphabetic()) {
        (true, true) => return a[at].cmp(&b[at]),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let carried = carried_digit(&a, &b, at);
    let (a_number, a_end) = number(&a, at, carried);
    let (b_number, b_end) = number(&b, at, carried);
    a_number.cmp(&b_number).then(a_end.cmp(&b_end)).then(a[at].cmp(&b[at]))
}

/// 1 if a zero at the difference continues a number that has begun before it, so that leading zeros stay apart.
fn carried_digit(a: &[char], b: &[char], at: usize) -> u64 {
    if a[at] != '0' && b[at] != '0' {
        return 0;
    }
    let before = a[..at].iter().rev().take_while(|character| character.is_numeric());
    u64::from(before.into_iter().any(|digit| *digit != '0'))
}

fn number(characters: &[char], from: usize, carried: u64) -> (u64, usize) {
    let digits = characters[from..].iter().map_while(|character| character.to_digit(10));
    let mut value = carried;
    let mut end = from;
    for digit in digits {
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        end += 1;
    }
    (value, end)
}

#[cfg(test)]
mod tests {
    use super::sort_naturally;

    #[test]
    fn yaml_keys_sort_naturally() {
        let sorted = ["", "-x", "1", "2", "10", "a", "a-b", "a.b", "a2", "a10", "ab"].map(str::to_owned);
        let mut shuffled: Vec<&String> = sorted.iter().rev().collect();
        sort_naturally(&mut shuffled);
        assert_eq!(shuffled, sorted.iter().collect::<Vec<_>>());
    }
}
