// FanStore
