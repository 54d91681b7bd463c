//! Logs and exec through the API.

use std::time::Duration;

use futures::{AsyncBufReadExt, TryStreamExt};
use kube::api::{AttachParams, LogParams, TerminalSize};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::{Cluster, PATIENCE};

pub(crate) async fn run(cluster: &Cluster) {
    let script = "echo one; echo two >&2; echo three; exec sleep 1000";
    let spec = json!({"terminationGracePeriodSeconds": 1, "containers": [
        {"name": "main", "image": "nginx", "command": ["sh", "-c", script], "env": [{"name": "A", "value": "1"}]},
    ]});
    cluster.create("target", spec).await;
    cluster.running("target").await;
    logs(cluster).await;
    output_and_code(cluster).await;
    standard_input(cluster).await;
    terminal(cluster).await;
    failures(cluster).await;
    tokio::time::timeout(PATIENCE, follow_to_the_end(cluster))
        .await
        .expect("the log ends with the container");
}

async fn logs(cluster: &Cluster) {
    let read = async |parameters: LogParams| cluster.pods().logs("target", &parameters).await.expect("log");
    let mut all = String::new();
    for _ in 0..100 {
        all = read(LogParams::default()).await;
        if all.lines().count() == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut lines: Vec<_> = all.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["one", "three", "two"]);
    let last = read(LogParams { tail_lines: Some(1), timestamps: true, ..LogParams::default() }).await;
    assert!(last.starts_with("20") && last.lines().count() == 1, "{last}");
}

/// Runs a command; its standard output and the Status of the result.
async fn exec(cluster: &Cluster, command: &[&str], parameters: &AttachParams) -> (String, serde_json::Value) {
    let mut process = cluster.pods().exec("target", command.to_vec(), parameters).await.expect("exec");
    let result = process.take_status().expect("status");
    let mut text = String::new();
    if let Some(mut stdout) = process.stdout() {
        stdout.read_to_string(&mut text).await.expect("output");
    }
    let result = result.await.expect("a result");
    (text, serde_json::to_value(result).expect("JSON"))
}

async fn output_and_code(cluster: &Cluster) {
    let (text, result) =
        exec(cluster, &["sh", "-c", "echo $A; pwd; exit 0"], &AttachParams::default().stderr(false)).await;
    assert_eq!((text.as_str(), &result["status"]), ("1\n/\n", &json!("Success")));
    let (_, result) = exec(cluster, &["sh", "-c", "exit 7"], &AttachParams::default().stderr(false)).await;
    assert_eq!(result["reason"], "NonZeroExitCode");
    assert_eq!(result["details"]["causes"], json!([{"reason": "ExitCode", "message": "7"}]));
    let (text, _) =
        exec(cluster, &["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x"], &AttachParams::default())
            .await;
    assert_eq!(text.len(), 3_000_000);
}

async fn standard_input(cluster: &Cluster) {
    let parameters = AttachParams::default().stdin(true).stderr(false);
    let mut process =
        cluster.pods().exec("target", ["sh", "-c", "cat; echo end"], &parameters).await.expect("exec");
    let mut stdin = process.stdin().expect("stdin");
    let mut stdout = process.stdout().expect("stdout");
    stdin.write_all(b"hello\n").await.expect("written");
    stdin.shutdown().await.expect("closed");
    drop(stdin);
    let mut text = String::new();
    tokio::time::timeout(PATIENCE, stdout.read_to_string(&mut text))
        .await
        .expect("cat ends")
        .expect("output");
    assert_eq!(text, "hello\nend\n");
}

async fn terminal(cluster: &Cluster) {
    let parameters = AttachParams::interactive_tty();
    let mut process = cluster.pods().exec("target", ["sh"], &parameters).await.expect("exec");
    let mut size = process.terminal_size().expect("size");
    futures::SinkExt::send(&mut size, TerminalSize { width: 91, height: 17 }).await.expect("sent");
    let result = process.take_status().expect("status");
    let mut stdin = process.stdin().expect("stdin");
    let mut stdout = process.stdout().expect("stdout");
    tokio::time::sleep(Duration::from_millis(200)).await;
    stdin.write_all(b"tty; stty size; echo $TERM; exit 5\n").await.expect("written");
    let mut text = String::new();
    tokio::time::timeout(PATIENCE, stdout.read_to_string(&mut text))
        .await
        .expect("shell ends")
        .expect("output");
    assert!(text.contains("/dev/pts/0\r\n17 91\r\nxterm\r\n"), "{text:?}");
    let result = serde_json::to_value(result.await.expect("result")).expect("JSON");
    assert_eq!(result["details"]["causes"][0]["message"], "5");
}

async fn failures(cluster: &Cluster) {
    let (_, result) = exec(cluster, &["no-such-program"], &AttachParams::default().stderr(false)).await;
    assert_eq!(result["reason"], "InternalError");
    let message = result["message"].as_str().expect("message");
    assert!(message.ends_with("exec \"no-such-program\": executable file not found in $PATH"), "{message}");
    let client = cluster.pods();
    assert!(client.exec("absent", ["sh"], &AttachParams::default()).await.is_err());
}

async fn follow_to_the_end(cluster: &Cluster) {
    let parameters = LogParams { follow: true, ..LogParams::default() };
    let log = cluster.pods().log_stream("target", &parameters).await.expect("log");
    let lines = tokio::spawn(log.lines().try_collect::<Vec<_>>());
    cluster.delete("target", 1).await;
    assert_eq!(lines.await.expect("task").expect("lines").len(), 3);
}
