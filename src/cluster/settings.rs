//! The settings of the private server: modest memory, safe writes, tables that change often.
//!
//! They are all of `postgresql.conf`; an administrator's own come from the configuration, or from
//! `ALTER SYSTEM`, which goes before both.

use super::{
    ClusterError,
    place::{PORT, Place},
};

/// What holds for every private server.
const COMMON: &[(&str, &str)] = &[
    // Nobody comes in but through the socket's folder.
    ("listen_addresses", ""),
    ("unix_socket_permissions", "0700"),
    ("max_connections", "100"),
    // Memory: the machine is not ours alone.
    ("shared_buffers", "128MB"),
    ("maintenance_work_mem", "64MB"),
    ("effective_cache_size", "1GB"),
    ("max_parallel_workers_per_gather", "0"),
    // Queries are short: compiling them costs more than it gives.
    ("jit", "off"),
    ("random_page_cost", "1.1"),
    ("synchronous_commit", "on"),
    // Fewer, longer checkpoints, and less to write after each.
    ("wal_compression", "on"),
    ("checkpoint_timeout", "15min"),
    ("checkpoint_completion_target", "0.9"),
    ("max_wal_size", "1GB"),
    // Counters and positions are updated all the time: sweep small and often.
    ("autovacuum_max_workers", "2"),
    ("autovacuum_naptime", "15s"),
    ("autovacuum_vacuum_scale_factor", "0.05"),
    ("autovacuum_analyze_scale_factor", "0.05"),
    ("autovacuum_vacuum_cost_limit", "1000"),
    // What a killed process was asking for ends with it.
    ("client_connection_check_interval", "10s"),
    // A log of one week that says neither values nor rows: they are personal data.
    ("logging_collector", "on"),
    ("log_directory", "log"),
    ("log_filename", "postgresql-%a.log"),
    ("log_rotation_age", "1d"),
    ("log_rotation_size", "0"),
    ("log_truncate_on_rotation", "on"),
    ("log_line_prefix", "%m [%p] "),
    ("log_error_verbosity", "terse"),
    ("log_parameter_max_length", "0"),
    ("log_parameter_max_length_on_error", "0"),
    ("log_timezone", "UTC"),
    ("timezone", "UTC"),
    ("lc_messages", "C"),
];

/// What was committed survives a crash of the machine.
const DURABLE: &[(&str, &str)] = &[("fsync", "on"), ("full_page_writes", "on")];

/// What was committed survives a killed process, and no more.
const FAST: &[(&str, &str)] = &[("fsync", "off"), ("full_page_writes", "off")];

/// The text of the settings file. `extra` goes last, so before all others in force.
pub(super) fn render(
    place: &Place,
    durable: bool,
    extra: &[(String, String)],
) -> Result<String, ClusterError> {
    let socket = place.socket().to_string_lossy();
    let port = PORT.to_string();
    let own = [
        ("unix_socket_directories", socket.as_ref()),
        ("port", port.as_str()),
    ];
    let durability = if durable { DURABLE } else { FAST };
    let extra = extra
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let mut text = "# Written at each start: changes belong to the configuration.\n".to_owned();
    // The socket and the port come last: everything else relies on them.
    for (name, value) in COMMON
        .iter()
        .chain(durability)
        .copied()
        .chain(extra)
        .chain(own)
    {
        text.push_str(&line(name, value)?);
    }
    Ok(text)
}

/// One setting, quoted.
fn line(name: &str, value: &str) -> Result<String, ClusterError> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_name) || value.contains(['\n', '\r', '\0']) {
        return Err(ClusterError::Setting {
            name: name.to_owned(),
        });
    }
    let value = value.replace('\\', "\\\\").replace('\'', "''");
    Ok(format!("{name} = '{value}'\n"))
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_value_is_quoted() {
        assert_eq!(line("a.b", r"it's \n").unwrap(), "a.b = 'it''s \\\\n'\n");
    }

    #[test]
    fn a_setting_cannot_bring_another() {
        assert!(line("jit = on\nfsync", "off").is_err());
        assert!(line("jit", "on\nfsync = off").is_err());
    }
}
