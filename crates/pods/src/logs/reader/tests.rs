//! Logs written and read back, in real files.

use std::sync::Arc;
use std::time::Duration;

use super::super::{LogFile, Stream, rotated};
use super::{Options, Reader};

struct Folder(std::path::PathBuf);

impl Folder {
    fn create(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sluice-log-test-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

async fn read(log: &LogFile, options: Options) -> String {
    let mut reader = Reader::open(log, options).expect("log opens");
    let mut output = Vec::new();
    while let Some(piece) = reader.next().await.expect("readable") {
        output.extend(piece);
    }
    String::from_utf8(output).expect("text")
}

#[tokio::test]
async fn lines_come_back_as_asked_for() {
    let folder = Folder::create("lines");
    let log = LogFile::create(folder.0.join("0.log")).expect("log");
    for text in ["one", "two", "three"] {
        log.append(Stream::Stdout, true, text.as_bytes()).expect("written");
    }
    log.append(Stream::Stderr, false, b"fo").expect("written");
    log.append(Stream::Stderr, true, b"ur").expect("written");
    let all = Options::default();
    assert_eq!(read(&log, all).await, "one\ntwo\nthree\nfour\n");
    for (count, expected) in [(0, ""), (1, "four\n"), (2, "three\nfour\n"), (9, "one\ntwo\nthree\nfour\n")] {
        assert_eq!(read(&log, Options { tail_lines: Some(count), ..all }).await, expected, "{count}");
    }
    assert_eq!(read(&log, Options { limit_bytes: Some(5), ..all }).await, "one\nt");
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1);
    assert_eq!(read(&log, Options { since: Some(later), ..all }).await, "");
    let stamped = read(&log, Options { timestamps: true, tail_lines: Some(3), ..all }).await;
    let first = stamped.lines().next().expect("a line");
    let (stamp, text) = first.split_once(' ').expect("a stamp");
    assert_eq!((stamp.len(), text), ("2026-11-24T06:35:49.123456789Z".len(), "two"));
}

#[tokio::test]
async fn rotation_keeps_two_files_and_followers_miss_nothing() {
    let folder = Folder::create("rotation");
    let log = Arc::new(LogFile::with_limit(folder.0.join("0.log"), 1000).expect("log"));
    let follower = tokio::spawn({
        let log = Arc::clone(&log);
        async move { read(&log, Options { follow: true, ..Options::default() }).await }
    });
    for number in 0..200 {
        log.append(Stream::Stdout, true, format!("line {number}").as_bytes()).expect("written");
        // The follower may fall behind by less than one file.
        if number % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    log.close();
    let seen = follower.await.expect("follower ends with the log");
    let expected: String = (0..200).map(|number| format!("line {number}\n")).collect();
    assert_eq!(seen, expected);
    let size = |path: &std::path::Path| std::fs::metadata(path).expect("file").len();
    assert!(size(log.path()) <= 1100 && size(&rotated(log.path())) <= 1100);
    assert_eq!(std::fs::read_dir(&folder.0).expect("folder").count(), 2);
}
