//! The uses of neighbouring addresses: four bytes for each, and a pointer for each Service that has some of them.

use services::Record;
use triomphe::ThinArc;

use super::ServiceKey;
use super::reverse::Prefix;

/// One use of an address: its last byte, whether it is an endpoint's (a virtual IP's sorts first), and the position of
/// the Service among the bucket's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Use(u32);

impl Use {
    const ENDPOINT: u32 = 1 << 23;
    /// A bucket of so many Services does not come about: each takes some hundred bytes elsewhere.
    const POSITION: u32 = Self::ENDPOINT - 1;

    fn new(last: u8, endpoint: bool, position: usize) -> Self {
        let endpoint = if endpoint { Self::ENDPOINT } else { 0 };
        Self(u32::from(last) << 24 | endpoint | (position as u32 & Self::POSITION))
    }

    pub(super) fn last(self) -> u8 {
        (self.0 >> 24) as u8
    }

    fn is_endpoint(self) -> bool {
        self.0 & Self::ENDPOINT != 0
    }

    fn position(self) -> usize {
        (self.0 & Self::POSITION) as usize
    }
}

/// What all addresses of a bucket share.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Head {
    prefix: Prefix,
    /// The Services that have some of the addresses, sorted.
    keys: Box<[ServiceKey]>,
}

/// The uses of the addresses of one prefix, sorted. Equal uses are equal values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bucket(ThinArc<Head, Use>);

impl Bucket {
    pub(super) fn list(&self) -> &[Use] {
        &self.0.slice
    }

    /// Asks memory for the uses of an address; the result means nothing.
    pub(super) fn touch_at(&self, last: u8) -> usize {
        self.list().get(self.guess(last)).map_or(0, |use_| use_.position())
    }

    /// Where the uses of an address stand, more or less: the last bytes of a prefix are often all there.
    fn guess(&self, last: u8) -> usize {
        (self.list().len() * usize::from(last)) >> 8
    }

    /// The uses of one address.
    pub(super) fn at(&self, last: u8) -> Uses<'_> {
        let list = self.list();
        let mut start = self.guess(last);
        while start > 0 && list[start - 1].last() >= last {
            start -= 1;
        }
        while list.get(start).is_some_and(|use_| use_.last() < last) {
            start += 1;
        }
        let length = list[start..].iter().take_while(|use_| use_.last() == last).count();
        Uses { list: &list[start..start + length], keys: &self.0.header.header.keys }
    }
}

impl Record for Bucket {
    type Key = Prefix;

    fn key(&self) -> &Prefix {
        &self.0.header.header.prefix
    }

    fn touch(&self) -> usize {
        self.list().len()
    }
}

/// Who has one address: Services whose virtual IP it is first, for those win.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Uses<'z> {
    list: &'z [Use],
    keys: &'z [ServiceKey],
}

impl<'z> Uses<'z> {
    pub(crate) fn is_empty(self) -> bool {
        self.list.is_empty()
    }

    /// The Service that is written first.
    pub(super) fn first(self) -> Option<&'z ServiceKey> {
        self.iter().next().map(|(_, key)| key)
    }

    /// As pairs `(is an endpoint, key)`.
    pub(crate) fn iter(self) -> impl Iterator<Item = (bool, &'z ServiceKey)> {
        self.list.iter().filter_map(move |use_| Some((use_.is_endpoint(), self.keys.get(use_.position())?)))
    }
}

/// A bucket while it is changed.
#[derive(Default)]
pub(super) struct Draft {
    keys: Vec<ServiceKey>,
    list: Vec<Use>,
}

impl Draft {
    /// Of a bucket that gets so many uses more at most.
    pub(super) fn of(bucket: Option<&Bucket>, more: usize) -> Self {
        let Some(bucket) = bucket else { return Self::default() };
        let mut list = Vec::with_capacity(bucket.list().len() + more);
        list.extend_from_slice(bucket.list());
        Self { keys: bucket.0.header.header.keys.to_vec(), list }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn insert(&mut self, last: u8, endpoint: bool, key: &ServiceKey) {
        let position = self.keys.binary_search(key).unwrap_or_else(|at| {
            self.keys.insert(at, key.clone());
            self.renumber(|position| if position >= at { position + 1 } else { position });
            at
        });
        let use_ = Use::new(last, endpoint, position);
        if let Err(at) = self.list.binary_search(&use_) {
            self.list.insert(at, use_);
        }
    }

    pub(super) fn remove(&mut self, last: u8, endpoint: bool, key: &ServiceKey) {
        let Ok(position) = self.keys.binary_search(key) else { return };
        if let Ok(at) = self.list.binary_search(&Use::new(last, endpoint, position)) {
            self.list.remove(at);
        }
        if self.list.iter().all(|use_| use_.position() != position) {
            self.keys.remove(position);
            self.renumber(|other| if other > position { other - 1 } else { other });
        }
    }

    /// Keeps the order, because the keys keep theirs.
    fn renumber(&mut self, new: impl Fn(usize) -> usize) {
        for use_ in &mut self.list {
            *use_ = Use::new(use_.last(), use_.is_endpoint(), new(use_.position()));
        }
    }

    pub(super) fn finish(self, prefix: Prefix) -> Bucket {
        let head = Head { prefix, keys: self.keys.into() };
        Bucket(ThinArc::from_header_and_slice(head, &self.list))
    }
}

#[cfg(test)]
mod tests {
    use services::ServiceName;

    use super::super::reverse::split;
    use super::*;

    #[test]
    fn a_bucket_is_what_is_in_it_whatever_came_first() {
        let key = |name: &str| ServiceKey::new(&ServiceName::new("default", name)).unwrap();
        let (prefix, _) = split("10.1.2.0".parse().unwrap());
        let uses = [(7, true, "b"), (7, false, "c"), (7, true, "a"), (9, true, "b"), (255, true, "c")];
        let mut draft = Draft::default();
        draft.insert(1, true, &key("0"));
        uses.iter().rev().for_each(|(last, endpoint, name)| draft.insert(*last, *endpoint, &key(name)));
        draft.insert(9, true, &key("b"));
        draft.remove(1, true, &key("0"));
        draft.remove(1, true, &key("unknown"));
        let bucket = draft.finish(prefix);
        let mut forward = Draft::default();
        uses.iter().for_each(|(last, endpoint, name)| forward.insert(*last, *endpoint, &key(name)));
        assert_eq!(bucket, forward.finish(prefix));
        let at =
            |last| bucket.at(last).iter().map(|(endpoint, key)| (endpoint, key.clone())).collect::<Vec<_>>();
        assert_eq!(at(7), [(false, key("c")), (true, key("a")), (true, key("b"))]);
        assert_eq!(at(9), [(true, key("b"))]);
        assert_eq!(at(255), [(true, key("c"))]);
        assert!(bucket.at(8).is_empty() && bucket.at(1).is_empty());
    }
}
