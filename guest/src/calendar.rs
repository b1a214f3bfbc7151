//! Owns the days of the Gregorian calendar, on either side of 1970: which date a day has, and which day a date is. Leaves times of
//! day, and the texts of both, to others.
//!
//! [The arithmetic](https://howardhinnant.github.io/date_algorithms.html) counts years from March, so that a leap day is the last
//! one of its year.

/// Days of the 400 years after which the calendar repeats itself.
const ERA: i128 = 146_097;

/// Days from March 1 of the year 0 to 1970-01-01.
const EPOCH: i128 = 719_468;

/// A date. Months and days count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// The year; the one before 1 is 0.
    pub year: i128,
    /// The month.
    pub month: u8,
    /// The day of the month.
    pub day: u8,
}

impl Date {
    /// The date of the day that is so many days after 1970-01-01.
    pub fn of(days: i64) -> Self {
        let days = i128::from(days) + EPOCH;
        let (era, day_of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        Self { year: era * 400 + year_of_era + i128::from(month <= 2), month: month as u8, day: day as u8 }
    }

    /// How many days after 1970-01-01 it is.
    pub fn days(self) -> i128 {
        let (month, day) = (i128::from(self.month), i128::from(self.day));
        let year = if month <= 2 { self.year - 1 } else { self.year };
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let from_march = if month > 2 { month - 3 } else { month + 9 };
        let day_of_year = (153 * from_march + 2) / 5 + day - 1;
        era * ERA + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - EPOCH
    }

    /// The day of its year, from 1.
    pub fn day_of_year(self) -> i128 {
        self.days() - Self { month: 1, day: 1, ..self }.days() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates_and_dates_days() {
        for (days, year, month, day, day_of_year) in [
            (0, 1970, 1, 1, 1),
            (-1, 1969, 12, 31, 365),
            (11_016, 2000, 2, 29, 60),
            (20_785, 2026, 11, 28, 332),
            (-719_528, 0, 1, 1, 1),
            (-719_529, -1, 12, 31, 365),
        ] {
            let date = Date { year, month, day };
            assert_eq!((Date::of(days), date.days(), date.day_of_year()), (date, i128::from(days), day_of_year));
        }
        for days in [i64::MIN, i64::MAX] {
            assert_eq!(Date::of(days).days(), i128::from(days));
        }
    }
}
