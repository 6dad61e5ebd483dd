//! What a job sees of the world: a clean environment, and what its entry asks for.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use jobctl::engine::run::Status;

use crate::by_hand;
use crate::jobd::{JOBD, Jobd, text};

/// Runs a job and returns what it wrote to stdout.
#[track_caller]
fn output(jobd: &Jobd, arguments: &[&str]) -> String {
    let arguments = [&["run"], arguments, &["--follow"]].concat();
    jobd.tell(&arguments)
}

#[test]
fn a_job_has_a_clean_environment() {
    let entry = "command = [\"env\"]\ntimezone = \"Asia/Seoul\"\nenv = { LEVEL = \"own\", NAME = \"학원\" }\n\
                 env_file = \"job.env\"";
    let mut jobd = Jobd::new(&by_hand("clean", entry));
    fs::write(jobd.path("job.env"), "# secrets\nLEVEL=file\nexport TOKEN='a b'\n").unwrap();
    jobd.start_with(&[("SECRET", Path::new("of jobd")), ("LANG", Path::new("ko_KR.UTF-8"))]);
    jobd.wait_until_ready();
    let said = output(&jobd, &["clean", "--at", "2026-03-01T01:02:03Z"]);
    let mut variables: Vec<&str> = said.lines().collect();
    variables.sort_unstable();
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap();
    let message = jobd.history("clean")[0].run_id;
    let message = crate::folder(&jobd, message.0).message_path();
    let expected = [
        format!("HOME={}", user.dir.display()),
        "JOBD_ATTEMPT=1".to_owned(),
        "JOBD_JOB=clean".to_owned(),
        format!("JOBD_MESSAGE_FILE={}", message.display()),
        "JOBD_RUN_ID=1".to_owned(),
        "JOBD_SCHEDULED_AT=2026-03-01T10:02:03+09:00".to_owned(),
        "JOBD_TRIGGER=manual".to_owned(),
        "LANG=ko_KR.UTF-8".to_owned(),
        "LEVEL=own".to_owned(),
        format!("LOGNAME={}", user.name),
        "NAME=학원".to_owned(),
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        "SHELL=/bin/sh".to_owned(),
        "TOKEN=a b".to_owned(),
        "TZ=Asia/Seoul".to_owned(),
        format!("USER={}", user.name),
    ];
    assert_eq!(variables, expected);
}

#[test]
fn a_job_stands_in_the_folder_of_its_file_and_with_its_own_umask() {
    let entry = "umask = \"0027\"\nshell = \"pwd; umask; readlink /proc/self/fd/0; ls /proc/$$/fd\"";
    let elsewhere = "cwd = \"/usr\"\ncommand = [\"pwd\"]";
    let jobd = Jobd::started(&(by_hand("here", entry) + &by_hand("elsewhere", elsewhere)));
    let said = output(&jobd, &["here"]);
    let folder = jobd.path("").canonicalize().unwrap();
    let expected = format!("{}\n0027\n/dev/null\n0\n1\n2\n", folder.display());
    assert_eq!(said, expected, "no descriptor of ours is among its own");
    assert_eq!(output(&jobd, &["elsewhere"]), "/usr\n");
}

#[test]
fn a_manual_run_without_an_instant_has_that_of_its_request() {
    let jobd = Jobd::started(&by_hand(
        "when",
        "timezone = \"Asia/Kathmandu\"\ncommand = [\"printenv\", \"JOBD_SCHEDULED_AT\"]",
    ));
    let said = output(&jobd, &["when"]);
    let row = jobd.history("when").remove(0);
    assert_eq!(row.scheduled_at, None);
    assert!(said.ends_with("+05:45\n"), "{said}");
    let at: jobctl::engine::time::Timestamp = said.trim().parse().unwrap();
    let before_start = row.started_at.duration_since(at);
    assert!(!before_start.is_negative() && before_start.as_secs() < 30, "{before_start}");
}

#[test]
fn a_jobs_own_word_is_its_message() {
    let jobs = by_hand("said", "shell = \"echo 시작; echo '[SUCCESS] 213건 청구서 발행 완료'; echo\"")
        + &by_hand("written", "shell = \"echo 출력; printf '학생 213명\\\\n' > $JOBD_MESSAGE_FILE\"");
    let jobd = Jobd::started(&jobs);
    assert_eq!(output(&jobd, &["said"]), "시작\n[SUCCESS] 213건 청구서 발행 완료\n\n");
    jobd.tell(&["run", "written", "--wait"]);
    assert_eq!(jobd.history("said")[0].message.as_deref(), Some("[SUCCESS] 213건 청구서 발행 완료"));
    assert_eq!(jobd.history("written")[0].message.as_deref(), Some("학생 213명"));
    assert!(jobd.tell(&["history"]).contains("213건"));
}

#[test]
fn a_job_runs_as_the_user_it_names_or_not_at_all() {
    let is_root = nix::unistd::geteuid().is_root();
    let entry = format!(
        "user = \"{}\"\ncwd = \"/\"\n\
         shell = \"id -un; id -Gn; echo $USER $LOGNAME; echo done > $JOBD_MESSAGE_FILE\"",
        if is_root { "nobody" } else { "root" }
    );
    let mut jobd = Jobd::new(&by_hand("lowly", &entry));
    if !is_root {
        let (code, said) = jobd.start_in_vain(&[]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("can't start a job as") && said.contains("run jobd as root"), "{said}");
        return;
    }
    // As in /var/lib: others may pass through to what is theirs.
    fs::set_permissions(jobd.path(""), Permissions::from_mode(0o711)).unwrap();
    // And with the umask of the systemd unit, which must not keep the job from its message file.
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "umask 077; exec \"$0\"", JOBD]);
    jobd.start_by(command, &[]);
    jobd.wait_until_ready();
    let group = nix::unistd::User::from_name("nobody").unwrap().unwrap().gid;
    let group = nix::unistd::Group::from_gid(group).unwrap().unwrap().name;
    assert_eq!(output(&jobd, &["lowly"]), format!("nobody\n{group}\nnobody nobody\n"));
    let row = jobd.history("lowly").remove(0);
    assert_eq!((row.status, row.message.as_deref()), (Status::Success, Some("done")));
}

#[test]
fn bytes_that_are_no_text_come_out_as_they_went_in() {
    let jobd = Jobd::started(&by_hand("binary", "shell = 'printf \"\\377\\000\\n\\r\\nrest\"'"));
    let run = jobd.begin("binary");
    assert_eq!(jobd.ended(run).output_bytes, Some(9));
    let logs = jobd.jobctl(&["logs", &run.to_string()]);
    assert_eq!(logs.stdout, b"\xff\0\n\r\nrest", "{}", text(&logs.stdout));
}
