//! Messages that make and remove tables, chains, rules and sets (`linux/netfilter/nf_tables.h`).

use super::expression::Expression;
use super::family::Family;
use super::set::{REFUSED, SETS, Set};
use crate::netlink::{APPEND, Batch, CREATE, Header};

/// `NFNL_SUBSYS_NFTABLES`.
pub(crate) const SUBSYSTEM: u16 = 10;
pub(super) const NEWTABLE: u16 = 0;
pub(super) const GETTABLE: u16 = 1;
const DELTABLE: u16 = 2;
pub(super) const NEWCHAIN: u16 = 3;
pub(super) const GETCHAIN: u16 = 4;
pub(super) const NEWRULE: u16 = 6;
pub(super) const GETRULE: u16 = 7;
const DELCHAIN: u16 = 5;
const DELRULE: u16 = 8;
pub(super) const NEWSET: u16 = 9;
pub(super) const GETSET: u16 = 10;
pub(super) const DELSET: u16 = 11;
pub(super) const NEWSETELEM: u16 = 12;
pub(super) const GETSETELEM: u16 = 13;
pub(super) const DELSETELEM: u16 = 14;
/// Ends the notifications of a transaction.
pub(crate) const NEWGEN: u16 = 15;

pub(super) const NFTA_TABLE_NAME: u16 = 1;
pub(super) const NFTA_TABLE_FLAGS: u16 = 2;
pub(super) const NFTA_TABLE_USERDATA: u16 = 6;
pub(super) const NFTA_CHAIN_TABLE: u16 = 1;
pub(super) const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
pub(super) const NFTA_RULE_TABLE: u16 = 1;
pub(super) const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
pub(super) const NFTA_RULE_USERDATA: u16 = 7;

/// `NFT_TABLE_F_OWNER`: only the socket that made the table may change it (kernel 5.12).
pub(super) const OWNER: u32 = 0x2;
/// `NFT_TABLE_F_PERSIST`: an owned table survives its owner (kernel 6.9).
pub(super) const PERSIST: u32 = 0x4;
/// libnftnl's user data of tables and rules begins with the comment, as type 0.
const UDATA_COMMENT: u8 = 0;
/// Longest comment without its NUL: what the length of libnftnl's user data can say. nft prints as much, though it
/// takes no more than 127 from its user; a Service's namespace, name and port can be longer.
const COMMENT_LIMIT: usize = 253;

/// Version of the table's layout: chains, rules and sets. A table of another version is replaced as a whole.
const LAYOUT_VERSION: u32 = 6;

/// Where a table is and how it is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Its family.
    pub(crate) family: &'static Family,
    /// Its name.
    pub(crate) table: &'static str,
    /// Owned by our socket, and kept when that closes.
    pub(crate) owned: bool,
    /// Refused by filter chains, because nat chains cannot (kernels below 5.9).
    pub(crate) late_refusal: bool,
}

impl Layout {
    /// A table that anyone may change, on a kernel that refuses from nat chains.
    pub(crate) fn plain(family: &'static Family, table: &'static str) -> Self {
        Self { family, table, owned: false, late_refusal: false }
    }

    /// The sets that such a table has.
    pub(super) fn sets(&self) -> impl Iterator<Item = &'static Set> {
        SETS.iter().filter(|set| self.late_refusal || set.name != REFUSED)
    }

    /// The comment that a table of this layout carries.
    pub(super) fn comment() -> String {
        format!("sluice layout {LAYOUT_VERSION}")
    }

    pub(super) fn header(&self, message: u16, flags: u16) -> Header {
        Header { kind: SUBSYSTEM << 8 | message, flags, family: self.family.number }
    }

    /// Makes the table, or takes over one that its owner left.
    pub(super) fn new_table(&self, batch: &mut Batch) {
        let flags = if self.owned { OWNER | PERSIST } else { 0 };
        batch.push(self.header(NEWTABLE, CREATE), format!("table {}", self.table), |writer| {
            writer.text(NFTA_TABLE_NAME, self.table);
            writer.u32(NFTA_TABLE_FLAGS, flags);
            writer.attribute(NFTA_TABLE_USERDATA, &comment(&Self::comment()));
        });
    }

    /// Removes the table with all that is in it.
    pub(super) fn delete_table(&self, batch: &mut Batch) {
        batch.push(self.header(DELTABLE, 0), format!("table {}", self.table), |writer| {
            writer.text(NFTA_TABLE_NAME, self.table);
        });
    }

    pub(super) fn new_chain(&self, batch: &mut Batch, chain: &Chain) {
        batch.push(self.header(NEWCHAIN, CREATE), format!("chain {}", chain.name), |writer| {
            writer.text(NFTA_CHAIN_TABLE, self.table);
            writer.text(NFTA_CHAIN_NAME, &chain.name);
            if let Some(hook) = chain.hook {
                writer.text(NFTA_CHAIN_TYPE, hook.kind);
                writer.nested(NFTA_CHAIN_HOOK, |nested| {
                    nested.u32(NFTA_HOOK_HOOKNUM, hook.number);
                    nested.attribute(NFTA_HOOK_PRIORITY, &hook.priority.to_be_bytes());
                });
            }
        });
    }

    /// Adds a chain's rules to those that it has.
    pub(super) fn new_rules(&self, batch: &mut Batch, chain: &Chain) {
        for rule in &chain.rules {
            let label = format!("rule {:?} of chain {}", rule.comment, chain.name);
            batch.push(self.header(NEWRULE, CREATE | APPEND), label, |writer| {
                writer.text(NFTA_RULE_TABLE, self.table);
                writer.text(NFTA_RULE_CHAIN, &chain.name);
                writer.nested(NFTA_RULE_EXPRESSIONS, |list| {
                    rule.expressions.iter().for_each(|expression| expression.write(list));
                });
                writer.attribute(NFTA_RULE_USERDATA, &comment(&rule.comment));
            });
        }
    }

    /// Removes a chain with its rules.
    pub(super) fn delete_chain(&self, batch: &mut Batch, chain: &str) {
        batch.push(self.header(DELCHAIN, 0), format!("chain {chain}"), |writer| {
            writer.text(NFTA_CHAIN_TABLE, self.table);
            writer.text(NFTA_CHAIN_NAME, chain);
        });
    }

    /// Removes all rules of a chain.
    pub(super) fn flush_chain(&self, batch: &mut Batch, chain: &str) {
        batch.push(self.header(DELRULE, 0), format!("rules of chain {chain}"), |writer| {
            writer.text(NFTA_RULE_TABLE, self.table);
            writer.text(NFTA_RULE_CHAIN, chain);
        });
    }

    pub(super) fn new_set(&self, batch: &mut Batch, set: &Set, id: u32) {
        batch.push(self.header(NEWSET, CREATE), format!("set {}", set.name), |writer| {
            set.write(self, id, writer);
        });
    }
}

/// Where a base chain meets the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hook {
    /// `filter` or `nat`.
    pub(crate) kind: &'static str,
    /// `NF_INET_*`.
    pub(crate) number: u32,
    /// Order among chains of the hook.
    pub(crate) priority: i32,
}

/// A rule and what nft prints beside it. The comment also is what a rule is recognised by when read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// What it is for.
    pub(crate) comment: String,
    /// What it does.
    pub(crate) expressions: Vec<Expression>,
}

impl Rule {
    pub(crate) fn new(comment: impl Into<String>, expressions: Vec<Expression>) -> Self {
        Self { comment: comment.into(), expressions }
    }
}

/// A chain with its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Its name.
    pub(crate) name: String,
    /// Its hook; a chain without one is only gone to.
    pub(crate) hook: Option<Hook>,
    /// Its rules in order.
    pub(crate) rules: Vec<Rule>,
}

/// A comment as libnftnl's user data, cut to what nft prints.
pub(super) fn comment(text: &str) -> Vec<u8> {
    let text = clip(text);
    let mut data = vec![UDATA_COMMENT, u8::try_from(text.len() + 1).expect("comments are clipped")];
    data.extend_from_slice(text.as_bytes());
    data.push(0);
    data
}

/// The part of a comment that is kept.
pub(super) fn clip(text: &str) -> &str {
    let mut end = text.len().min(COMMENT_LIMIT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The comment in user data, if it begins with one.
pub(super) fn read_comment(data: &[u8]) -> Option<&str> {
    let [UDATA_COMMENT, length, rest @ ..] = data else { return None };
    let text = rest.get(..usize::from(*length).checked_sub(1)?)?;
    std::str::from_utf8(text).ok()
}
