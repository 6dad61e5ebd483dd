//! A webhook on this machine: keeps the texts that it is sent, and can be down at first.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::net::TcpSocket;

use crate::jobd::{Jobd, wait_for};

/// Connections that may wait to be taken up.
const BACKLOG: u32 = 16;

pub struct Webhook {
    /// Has its address from the beginning; nobody listens on it until the webhook is up.
    socket: Option<TcpSocket>,
    port: u16,
    texts: Arc<Mutex<Vec<String>>>,
}

impl Webhook {
    /// A webhook whose connections are refused until it is up.
    pub fn down() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = socket.local_addr().unwrap().port();
        Self { socket: Some(socket), port, texts: Arc::default() }
    }

    pub fn started() -> Self {
        let mut webhook = Self::down();
        webhook.up();
        webhook
    }

    /// Takes connections from now on.
    pub fn up(&mut self) {
        let socket = self.socket.take().expect("it is up already");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let _entered = runtime.enter();
        let listener = socket.listen(BACKLOG).unwrap().into_std().unwrap();
        listener.set_nonblocking(false).unwrap();
        let texts = Arc::clone(&self.texts);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, texts) = (stream.unwrap(), Arc::clone(&texts));
                std::thread::spawn(move || serve(stream, &texts));
            }
        });
    }

    /// A configuration with this webhook as the channel of every job, and whatever else it says.
    pub fn config(&self, jobs: &str) -> String {
        format!(
            "timezone = \"UTC\"\nlanguage = \"ko\"\n[channels.ops]\ntype = \"slack\"\n\
             url = \"{}\"\n[defaults]\nalert = [\"ops\"]\ntimeout = \"1m\"\n{jobs}",
            self.url()
        )
    }

    /// Its address, of which the path is a secret.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/services/key", self.port)
    }

    /// The texts so far.
    pub fn texts(&self) -> Vec<String> {
        self.texts.lock().unwrap().clone()
    }

    /// Waits until no message is left to be delivered, and returns all that were.
    #[track_caller]
    pub fn delivered(&self, jobd: &Jobd) -> Vec<String> {
        wait_for("every message is delivered", || {
            (jobd.json(&["status"])["alerts"]["waiting"] == 0).then(|| self.texts())
        })
    }
}

/// Answers the requests of one connection, until it is closed.
fn serve(stream: TcpStream, texts: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    while let Some(text) = read_request(&mut reader) {
        texts.lock().unwrap().push(text);
        // Whoever does not wait for the answer sends again.
        let _ = reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    }
}

/// Reads a request, and returns the `text` of its body.
fn read_request(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut length = 0;
    let mut line = String::new();
    while reader.read_line(&mut line).ok()? > 0 {
        let header = line.trim_end().to_lowercase();
        if header.is_empty() {
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            let body: Value = serde_json::from_slice(&body).unwrap();
            return Some(body["text"].as_str().unwrap().to_owned());
        }
        if let Some(value) = header.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        line.clear();
    }
    None
}
