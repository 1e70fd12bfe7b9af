CREATE TABLE job_leases (
    job TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until_ms BIGINT NOT NULL
);

COMMENT ON TABLE job_leases IS 'Which process does a job that only one may do at a time.';
COMMENT ON COLUMN job_leases.job IS 'The name of the job.';
COMMENT ON COLUMN job_leases.holder IS 'A name that the process chose for itself when it started.';
COMMENT ON COLUMN job_leases.until_ms IS 'When another process may take the job over.';
