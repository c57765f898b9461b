// FanDatabaseTests
