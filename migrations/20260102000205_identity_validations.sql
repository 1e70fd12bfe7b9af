ALTER TABLE email_validations DROP CONSTRAINT IF EXISTS email_validations_purpose_check;

ALTER TABLE email_validations ADD CONSTRAINT email_validations_purpose_check
CHECK (purpose IN ('registration', 'password', 'identity', 'address')) NOT VALID;

COMMENT ON COLUMN email_validations.purpose IS 'What the proof is good for: making an account, a new password, or binding an address at the identity service.';
