// The service of these tests does not encrypt. See package.json.
