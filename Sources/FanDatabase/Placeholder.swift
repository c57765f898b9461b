// FanDatabase
