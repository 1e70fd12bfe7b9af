-- no-transaction
CREATE INDEX CONCURRENTLY accounts_guests ON accounts (user_nid) WHERE is_guest;
