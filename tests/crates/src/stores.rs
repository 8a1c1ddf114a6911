//! What lies on a disk: sqlite, redb, plain files, maps; and what is left of it when the power was cut.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use memmap2::MmapMut;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
use rusqlite::{Connection, params};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, SeekFrom};

const SQLITE: &str = "/var/lib/sqlite/db";

fn open_sqlite() -> Connection {
    let connection = Connection::open(SQLITE).unwrap();
    connection.busy_timeout(Duration::from_secs(20)).unwrap();
    // By default a commit to a write-ahead log may be lost with the power.
    connection.pragma_update(None, "synchronous", "full").unwrap();
    connection
}

fn insert(thread: i64) {
    let mut connection = open_sqlite();
    for row in 0..25 {
        let transaction =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
        transaction
            .execute(
                "INSERT INTO numbers (thread, value) VALUES (?1, ?2)",
                params![thread, thread * 45 + row],
            )
            .unwrap();
        std::thread::sleep(Duration::from_millis(1));
        transaction.commit().unwrap();
    }
}

fn folder_names(folder: &str) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

pub(crate) fn sqlite() {
    std::fs::create_dir_all("/var/lib/sqlite").unwrap();
    let connection = open_sqlite();
    let journal: String = connection.query_row("PRAGMA journal_mode = wal", [], |row| row.get(0)).unwrap();
    println!("journal {journal}");
    connection.execute("CREATE TABLE numbers (thread INTEGER, value INTEGER)", []).unwrap();
    let threads: Vec<_> = (0..4).map(|thread| std::thread::spawn(move || insert(thread))).collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let (rows, sum): (i64, i64) = connection
        .query_row("SELECT count(*), sum(value) FROM numbers", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    println!("rows {rows}, sum {sum}");
    println!("files: {}", folder_names("/var/lib/sqlite").join(" "));
    // As a crash: it is not closed.
    std::mem::forget(connection);
}

pub(crate) fn sqlite_after() {
    let connection = open_sqlite();
    let rows: i64 = connection.query_row("SELECT count(*) FROM numbers", [], |row| row.get(0)).unwrap();
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    println!("after power loss: rows {rows}, {check}");
}

const REDB: &str = "/var/lib/redb";
const TABLE: TableDefinition<'_, u64, &str> = TableDefinition::new("numbers");

fn put(database: &Database, keys: std::ops::Range<u64>) {
    for key in keys {
        let transaction = database.begin_write().unwrap();
        transaction.open_table(TABLE).unwrap().insert(key, key.to_string().as_str()).unwrap();
        transaction.commit().unwrap();
    }
}

pub(crate) fn redb() {
    std::fs::create_dir_all("/var/lib").unwrap();
    let database = Database::create(REDB).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let database = &database;
            scope.spawn(move || put(database, writer * 100..(writer + 1) * 100));
        }
    });
    let transaction = database.begin_write().unwrap();
    transaction.open_table(TABLE).unwrap().insert(1000, "never").unwrap();
    transaction.abort().unwrap();
    let table = database.begin_read().unwrap().open_table(TABLE).unwrap();
    let aborted = table.range(1000..).unwrap().count();
    println!("entries {}, aborted {aborted}", table.len().unwrap());
    // As a crash: it is not closed.
    std::mem::forget(database);
}

pub(crate) fn redb_after() {
    let database = Database::open(REDB).unwrap();
    let table = database.begin_read().unwrap().open_table(TABLE).unwrap();
    let last = table.last().unwrap().unwrap();
    println!("after power loss: entries {}, last {}", table.len().unwrap(), last.1.value());
}

#[tokio::main]
pub(crate) async fn files() {
    use tokio::fs;
    let folder = Path::new("/var/lib/files");
    fs::create_dir_all(folder).await.unwrap();
    for number in 0..3 {
        fs::write(folder.join(format!("f{number}")), [b'x'; 5000]).await.unwrap();
    }
    let mut options = fs::OpenOptions::new();
    options.create(true).write(true).read(true).truncate(true);
    let mut file = options.open(folder.join("new")).await.unwrap();
    file.write_all(b"hello").await.unwrap();
    file.write_all(b" disk").await.unwrap();
    file.sync_all().await.unwrap();
    fs::rename(folder.join("new"), folder.join("kept")).await.unwrap();
    for folder in [folder, Path::new("/var/lib"), Path::new("/var")] {
        fs::File::open(folder).await.unwrap().sync_all().await.unwrap();
    }
    println!("names: {:?}", folder_names("/var/lib/files"));
    let length = fs::metadata(folder.join("kept")).await.unwrap().len();
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).await.unwrap();
    file.read_to_string(&mut text).await.unwrap();
    println!("length {length}, {text}");
}

#[tokio::main]
pub(crate) async fn files_after() {
    let kept = tokio::fs::read_to_string("/var/lib/files/kept").await.unwrap();
    println!("after power loss: {kept}");
}

const MAPPED: &str = "/var/lib/mapped";

#[expect(unsafe_code, reason = "a map is only as safe as its file, which is this program's own")]
fn map(file: &File) -> MmapMut {
    // SAFETY: the file is not made shorter while it is mapped.
    unsafe { MmapMut::map_mut(file) }.unwrap()
}

pub(crate) fn maps() {
    std::fs::create_dir_all("/var/lib").unwrap();
    let file = OpenOptions::new().create_new(true).read(true).write(true).open(MAPPED).unwrap();
    file.set_len(10_000).unwrap();
    let (mut one, two) = (map(&file), map(&file));
    one[9_990..9_995].copy_from_slice(b"by me");
    println!("another map: {}", String::from_utf8_lossy(&two[9_990..9_995]));
    let mut read = [0; 5];
    file.read_exact_at(&mut read, 9_990).unwrap();
    println!("the file: {}", String::from_utf8_lossy(&read));
    file.write_all_at(b"by it", 0).unwrap();
    println!("the map of what was written: {}", String::from_utf8_lossy(&one[..5]));
    one.flush().unwrap();
    File::open("/var/lib").unwrap().sync_all().unwrap();
    File::open("/var").unwrap().sync_all().unwrap();
    drop((one, two, file));
    println!("unmapped: {}", String::from_utf8_lossy(&std::fs::read(MAPPED).unwrap()[9_990..9_995]));
}

pub(crate) fn maps_after() {
    let bytes = std::fs::read(MAPPED).unwrap();
    let [begin, end] = [&bytes[..5], &bytes[9_990..9_995]].map(String::from_utf8_lossy);
    println!("after power loss: {begin}, {end}");
}
