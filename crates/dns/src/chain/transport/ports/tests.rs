use std::collections::HashSet;
use std::net::Ipv4Addr;

use tokio::time::timeout;

use super::*;

/// `a. A` under this id.
fn question(id: u16) -> Vec<u8> {
    [&id.to_be_bytes()[..], b"\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01"].concat()
}

fn answer(question: &[u8]) -> Vec<u8> {
    let mut answer = question.to_vec();
    answer[2] |= 0x80;
    answer
}

/// An upstream that answers as often as it is told to, and says from which ports it was asked.
async fn upstream(replies: impl Fn(usize, &[u8]) -> Vec<Vec<u8>> + Send + 'static) -> (SocketAddr, Asked) {
    let socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (address, ports) = (socket.local_addr().unwrap(), Asked::default());
    let seen = Arc::clone(&ports);
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let count = {
                let mut seen = seen.lock().unwrap();
                seen.push(peer.port());
                seen.len()
            };
            for reply in replies(count, &buffer[..length]) {
                socket.send_to(&reply, peer).await.unwrap();
            }
        }
    });
    (address, ports)
}

type Asked = Arc<Mutex<Vec<u16>>>;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

#[tokio::test]
async fn a_port_is_used_again_and_not_for_ever() {
    let (address, asked) = upstream(|_, question| vec![answer(question)]).await;
    let ports = Arc::new(Ports::default());
    for id in 0..QUESTIONS_MAX as u16 * 3 {
        let answered = ports.ask(address, ANY, &question(id)).await.unwrap();
        assert_eq!(answered.answer, answer(&question(id)));
        assert_eq!(answered.reused, u32::from(id) % QUESTIONS_MAX != 0);
    }
    let asked = asked.lock().unwrap();
    for ports in asked.chunks(QUESTIONS_MAX as usize) {
        assert_eq!(ports.iter().collect::<HashSet<_>>().len(), 1, "{ports:?}");
    }
    assert!(asked.iter().collect::<HashSet<_>>().len() > 1, "the kernel picks at random");
}

#[tokio::test]
async fn questions_at_a_time_have_ports_of_their_own() {
    let (address, asked) = upstream(|_, question| vec![answer(question)]).await;
    let ports = Arc::new(Ports::default());
    let asking: Vec<_> = (0..20)
        .map(|id| {
            let ports = Arc::clone(&ports);
            tokio::spawn(async move { ports.ask(address, ANY, &question(id)).await.unwrap() })
        })
        .collect();
    for answered in asking {
        answered.await.unwrap();
    }
    assert_eq!(asked.lock().unwrap().iter().collect::<HashSet<_>>().len(), 20);
    assert_eq!(ports.0.lock().unwrap().ports.len(), 20);
}

#[tokio::test]
async fn a_port_whose_question_was_given_up_is_not_used_again() {
    let (address, asked) = upstream(|count, question| match count {
        1 => Vec::new(),
        _ => vec![answer(question)],
    })
    .await;
    let ports = Arc::new(Ports::default());
    let given_up = timeout(Duration::from_millis(50), ports.ask(address, ANY, &question(1))).await;
    assert!(given_up.is_err());
    assert!(!ports.ask(address, ANY, &question(2)).await.unwrap().reused);
    assert_eq!(asked.lock().unwrap().iter().collect::<HashSet<_>>().len(), 2);
}

/// The second question's answer is there before it is asked: it is thrown away, and the true one counts.
#[tokio::test]
async fn what_came_before_the_question_is_no_answer_to_it() {
    let forged = || {
        let mut forged = answer(&question(2));
        forged[3] = 5;
        forged
    };
    let (address, _asked) = upstream(move |count, question| match count {
        1 => vec![answer(question), forged()],
        _ => vec![answer(question)],
    })
    .await;
    let ports = Arc::new(Ports::default());
    ports.ask(address, ANY, &question(1)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let answered = ports.ask(address, ANY, &question(2)).await.unwrap();
    assert!(answered.reused);
    assert_eq!(answered.answer, answer(&question(2)));
}

#[tokio::test]
async fn guesses_end_the_exchange() {
    let guess = |id: usize| answer(&question(id as u16));
    let (address, _asked) = upstream(move |_, question| {
        (0..WRONG_MAX + 1).map(|id| guess(1000 + id)).chain([answer(question)]).collect()
    })
    .await;
    let ports = Arc::new(Ports::default());
    let refused = ports.ask(address, ANY, &question(1)).await;
    assert_eq!(refused.err().map(|error| error.kind()), Some(ErrorKind::InvalidData));
    assert!(ports.0.lock().unwrap().ports.is_empty());
}
