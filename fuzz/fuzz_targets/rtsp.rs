//! Whatever an RTSP server may answer: status lines, headers, SDP, then RTP and RTCP inside the connection. The session is the real one,
//! over loopback: its library takes no bytes but a socket's. No panic of ours; the source ends, or goes on, and nothing hangs.
//!
//! Input: a byte of options, then answers parted by a line `====`. Each goes out when the next request has come, with its CSeq, the last
//! one with whatever follows it.
#![no_main]

use std::cell::OnceCell;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tandem::config::RtspInput;
use tandem::ingest::{IngestEvent, rtsp};
use tandem::media::{ChannelId, SourceId, SourceName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Option: the length of a body is put right.
const LENGTH_PUT_RIGHT: u8 = 1;
/// An answer is there at once; a session that waits longer than this has missed the end of its connection.
const END_WITHIN: Duration = Duration::from_secs(8);
/// A client that has its answer asks again at once.
const NEXT_WITHIN: Duration = Duration::from_millis(300);

thread_local! {
    static GROUND: OnceCell<(Runtime, TcpListener)> = const { OnceCell::new() };
}

fuzz_target!(|data: &[u8]| {
    let Some((&options, answers)) = data.split_first() else { return };
    GROUND.with(|ground| {
        let (runtime, listener) = ground.get_or_init(open);
        runtime.block_on(session(listener, options, answers));
    });
});

fn open() -> (Runtime, TcpListener) {
    let fatal = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // The library's own end in the task of their session (src/ingest/rtsp.rs): that is what the task is for.
        if !panic.location().is_some_and(|at| ["retina", "rtsp-types", "sdp-types"].iter().any(|name| at.file().contains(name))) {
            fatal(panic);
        }
    }));
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    (runtime, listener)
}

async fn session(listener: &TcpListener, options: u8, answers: &[u8]) {
    let port = listener.local_addr().expect("bound").port();
    let input = RtspInput { url: format!("rtsp://127.0.0.1:{port}/live"), udp: false, user: None };
    let id = SourceId {
        channel: ChannelId::new("c").expect("a name"),
        source: SourceName::new("s").expect("a name"),
    };
    let (sink, mut events) = mpsc::channel(1024);
    let (stop, stopped) = watch::channel(false);
    let client = tokio::spawn(rtsp::run(input, id, sink, stopped));
    let (server, _) = timeout(END_WITHIN, listener.accept()).await.expect("we are called").expect("accepted");
    let serving = serve(server, options, answers);
    let listening = async {
        while let Some((_, event)) = events.recv().await {
            if let IngestEvent::Media { items, .. } = &event {
                assert!(!items.is_empty());
            }
            if matches!(event, IngestEvent::Down { .. }) {
                break;
            }
        }
    };
    timeout(END_WITHIN, async { tokio::join!(serving, listening) }).await.expect("the session ends with its connection");
    stop.send_replace(true);
    timeout(END_WITHIN, client).await.expect("it stops").expect("no panic of ours");
}

/// A server that says what it was told to say.
async fn serve(mut server: TcpStream, options: u8, answers: &[u8]) {
    let mut rest = Some(answers);
    let mut request = Vec::new();
    'answers: while let Some(left) = rest {
        let end = left.windows(5).position(|line| line == b"====\n");
        let (answer, behind) = end.map_or((left, None), |at| (&left[..at], Some(&left[at + 5..])));
        rest = behind;
        request.clear();
        while !request.ends_with(b"\r\n\r\n") {
            let mut chunk = [0; 1024];
            match timeout(NEXT_WITHIN, server.read(&mut chunk)).await {
                Ok(Ok(length @ 1..)) => request.extend_from_slice(&chunk[..length]),
                Ok(Ok(0) | Err(_)) => return,
                // It waits for the rest of an answer that has none.
                Err(_) => break 'answers,
            }
        }
        if server.write_all(&numbered(answer, cseq(&request), options)).await.is_err() {
            return;
        }
    }
    let _ = server.shutdown().await;
    // The client ends the connection, in its own time.
    let mut chunk = [0; 1024];
    while matches!(server.read(&mut chunk).await, Ok(1..)) {}
}

fn cseq(request: &[u8]) -> String {
    let text = String::from_utf8_lossy(request);
    let line = text.lines().find_map(|line| line.strip_prefix("CSeq: "));
    line.unwrap_or("0").to_owned()
}

/// The answer to this request.
fn numbered(answer: &[u8], cseq: String, options: u8) -> Vec<u8> {
    let Some(first) = answer.iter().position(|byte| *byte == b'\n') else { return answer.to_vec() };
    let (status, behind) = answer.split_at(first + 1);
    let mut out = [status, format!("CSeq: {cseq}\r\n").as_bytes()].concat();
    let body = behind.windows(4).position(|end| end == b"\r\n\r\n").map(|at| behind.len() - at - 4);
    if let Some(body @ 1..) = body.filter(|_| options & LENGTH_PUT_RIGHT != 0) {
        out.extend(format!("Content-Length: {body}\r\n").as_bytes());
    }
    out.extend_from_slice(behind);
    out
}
