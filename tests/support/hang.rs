//! A file that hangs whoever touches it, as a dead NFS server does: the kernel asks a file system in user space, which
//! takes the question and never answers. A process that waits for such an answer does not die of SIGKILL.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

/// The first question of the kernel (`FUSE_INIT`, `linux/fuse.h`), the only one that is answered.
const INIT: u32 = 26;
/// The version of the protocol that the answer is in.
const VERSION: [u32; 2] = [7, 31];
/// More than the kernel wants to have room for.
const QUESTION_BYTES: usize = 256 * 1024;
/// A header, and what follows on it.
const INIT_ANSWER_BYTES: u32 = 16 + 64;

/// The mount. Whoever hangs in it goes on when it is dropped.
pub(crate) struct Hang {
    folder: TempDir,
    touched: Arc<AtomicU32>,
    server: Option<JoinHandle<()>>,
}

impl Hang {
    #[track_caller]
    pub(crate) fn new() -> Self {
        let needs = "this test hangs a process in the kernel, which takes root and /dev/fuse";
        assert!(nix::unistd::geteuid().is_root(), "{needs}: run it as root");
        let device = File::options().read(true).write(true).open("/dev/fuse");
        let device = device.unwrap_or_else(|error| panic!("{needs}: /dev/fuse: {error}"));
        let folder = tempfile::Builder::new().prefix("jobd-hang-").tempdir().unwrap();
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        let mounted = mount(
            Some("jobd-hang"),
            folder.path(),
            Some("fuse"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            Some(options.as_str()),
        );
        mounted.unwrap_or_else(|error| panic!("{needs}: mount: {error}"));
        let touched = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&touched);
        let server = Some(std::thread::spawn(move || serve(device, &counter)));
        Self { folder, touched, server }
    }

    /// The file that hangs.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("file")
    }

    /// How often it has been touched.
    pub(crate) fn touched(&self) -> u32 {
        self.touched.load(Ordering::SeqCst)
    }

    /// Lets go of all that hang.
    pub(crate) fn release(&mut self) {
        // By force: whoever waits for an answer is told that there will be none.
        let _ = umount2(self.folder.path(), MntFlags::MNT_FORCE);
        let _ = umount2(self.folder.path(), MntFlags::MNT_DETACH);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

impl Drop for Hang {
    fn drop(&mut self) {
        self.release();
    }
}

/// Takes every question, until the file system is unmounted.
fn serve(mut device: File, touched: &AtomicU32) {
    let mut question = vec![0; QUESTION_BYTES];
    while let Ok(count) = device.read(&mut question) {
        let word = |at: usize| u32::from_ne_bytes(question[at..at + 4].try_into().unwrap());
        assert!(count >= 40, "a question has a header");
        if word(4) == INIT {
            device.write_all(&init_answer(&question[8..16])).unwrap();
        } else {
            touched.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// `fuse_out_header` and `fuse_init_out`, with nothing wanted beyond the version and room for a page.
fn init_answer(unique: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    answer.extend(INIT_ANSWER_BYTES.to_ne_bytes());
    answer.extend(0_i32.to_ne_bytes());
    answer.extend(unique);
    answer.extend(VERSION.into_iter().flat_map(u32::to_ne_bytes));
    answer.extend([0; 12]);
    answer.extend(4096_u32.to_ne_bytes());
    answer.resize(INIT_ANSWER_BYTES.try_into().unwrap(), 0);
    answer
}
